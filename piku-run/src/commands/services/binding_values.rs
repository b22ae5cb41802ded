//! Parts of a binding: its name in the server, its password, and its variables in the config of the app.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::sha256;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_procfile::env;
use piku_report::user_error::{USAGE, UserError};

use crate::config::store;
use crate::services::kind::ServiceKind;
use crate::services::state::ServiceBinding;

/// Returns the prefix of variables that `--as` gives: `REPORTS` for `reports` and for `REPORTS_URL`.
pub(super) fn parse_prefix(given: &str) -> anyhow::Result<String> {
    let prefix = given.to_ascii_uppercase();
    let prefix = prefix.strip_suffix("_URL").unwrap_or(&prefix);
    if env::is_name(prefix) && prefix.len() <= 40 {
        return Ok(prefix.to_owned());
    }
    Err(UserError::new("--as: expected the beginning of a variable's name")
        .hint("such as --as REPORTS for REPORTS_URL")
        .code(USAGE)
        .into())
}

/// Returns the hashes by which the variables of a binding are recognised, by name.
pub(super) fn hash_values(vars: &IndexMap<String, String>) -> BTreeMap<String, String> {
    vars.iter().map(|(name, value)| (name.clone(), hash_text(value))).collect()
}

fn hash_text(text: &str) -> String {
    sha256::to_hex(&sha256::hash_reader(&mut text.as_bytes()).unwrap_or_default())
}

/// Returns the variables of a binding that the app has, with the values that the binding gave them.
pub(super) fn config_variables(root: &PikuRoot, binding: &ServiceBinding) -> anyhow::Result<Vec<String>> {
    if root.is_service(&binding.app) {
        return Ok(Vec::new());
    }
    let config = store::read(&root.app(&binding.app))?;
    let is_its = |(name, hash): &(&String, &String)| {
        config.get(name).is_some_and(|value| hash_text(value) == hash.as_str())
    };
    Ok(binding.value_hashes.iter().filter(is_its).map(|(name, _)| name.clone()).collect())
}

/// Returns true if the app has variables of the binding.
pub(super) fn is_in_config(root: &PikuRoot, binding: &ServiceBinding) -> anyhow::Result<bool> {
    Ok(!config_variables(root, binding)?.is_empty())
}

/// Returns the name of a new binding's role and database, which no other binding has. It begins with `app_`: no server
/// has such a name of its own.
pub(super) fn choose_name(
    app: &AppName,
    variable: &str,
    kind: &ServiceKind,
    others: &[ServiceBinding],
) -> String {
    /// Bytes, with six left for a number; servers take 63 and more.
    const LONGEST: usize = 57;
    let mut name = format!("app_{}", app.as_str().replace('-', "_"));
    if variable != kind.about.variable {
        name.push_str("__");
        name.push_str(&variable.to_ascii_lowercase());
    }
    if name.len() > LONGEST {
        let hash = hash_text(&name);
        name.truncate(LONGEST - 13);
        name.push('_');
        name.push_str(&hash[..12]);
    }
    // A renamed app keeps the name of its data, and '-' is written like '_'.
    let is_free = |name: &String| !others.iter().any(|one| one.name == *name);
    let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
}

/// Returns 48 random hexadecimal digits, which need no quotes in a URL or in SQL.
#[expect(clippy::disallowed_methods, reason = "the kernel's random numbers")]
pub(super) fn random_password() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 24];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("cannot read '/dev/urandom'")?;
    Ok(sha256::to_hex(&bytes))
}

/// Parses the lines `NAME=VALUE` that `bind` prints.
pub(super) fn parse_variables(printed: &str) -> anyhow::Result<IndexMap<String, String>> {
    let mut vars = IndexMap::new();
    for line in printed.lines().filter(|line| !line.is_empty()) {
        // The line may hold a password, and is not repeated.
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| env::is_name(name)) else {
            return Err(UserError::new("'bind' printed a line that is not NAME=VALUE").into());
        };
        vars.insert(name.to_owned(), value.to_owned());
    }
    if vars.is_empty() {
        return Err(UserError::new("'bind' printed no NAME=VALUE").into());
    }
    Ok(vars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::state::BindingState;

    #[test]
    fn prefix_is_the_same_however_it_is_written() {
        for given in ["REPORTS", "reports", "REPORTS_URL", "reports_url"] {
            assert_eq!(parse_prefix(given).unwrap(), "REPORTS");
        }
        for bad in ["", "_URL", "A B", "1", &"A".repeat(41)] {
            assert!(parse_prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_two_bindings_have_one_name() {
        let kind = ServiceKind {
            name: "postgres".parse().unwrap(),
            folder: "/".into(),
            about: serde_yaml::from_str("description: x\npackage: x\nvariable: DATABASE\n").unwrap(),
        };
        let mut there: Vec<ServiceBinding> = Vec::new();
        let long = "a".repeat(40);
        let apps = ["blog", "blog--reports", "blog", "blog-2", "blog", &long];
        let variables = ["DATABASE", "DATABASE", "REPORTS", "DATABASE", "DATABASE", &"B".repeat(40)];
        for (app, variable) in apps.into_iter().zip(variables) {
            let app: AppName = app.parse().unwrap();
            let name = choose_name(&app, variable, &kind, &there);
            assert!(name.len() <= 63 && there.iter().all(|one| one.name != name), "{name}");
            there.push(ServiceBinding {
                app,
                variable: variable.to_owned(),
                name,
                password: String::new(),
                variables: Vec::new(),
                value_hashes: BTreeMap::new(),
                state: BindingState::Bound,
                since: jiff::Timestamp::UNIX_EPOCH,
            });
        }
        let names: Vec<&str> = there[..5].iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            ["app_blog", "app_blog__reports", "app_blog__reports_2", "app_blog_2", "app_blog_3"]
        );
    }
}
