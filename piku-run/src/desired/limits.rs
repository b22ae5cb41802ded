//! Resource limits of a process type, from `ENV` and the config: `MEMORY_LIMIT=512m` applies to each
//! process of the app, `WORKER_MEMORY_LIMIT=256m` to those of the type `worker`.

use piku_chroot::limits::JailLimits as Parsed;
use piku_report::user_error::UserError;

use crate::instance::environment::Vars;

/// Suffix of a variable, and piku-chroot's name of the limit.
const NAMES: [(&str, &str); 4] =
    [("MEMORY_LIMIT", "memory"), ("PIDS_LIMIT", "pids"), ("CPU_LIMIT", "cpu"), ("NOFILE_LIMIT", "nofile")];

/// Returns the limits of a type as an argument of `piku-chroot --limit`, such as `memory=256m,nofile=1024`;
/// empty if there are none.
///
/// # Errors
/// Names the variable whose value is invalid.
pub(crate) fn of(kind: &str, vars: &Vars) -> anyhow::Result<String> {
    let mut limits = Vec::new();
    for (variable, limit) in NAMES {
        let Some((name, value)) = self::limit_variable(kind, variable, vars) else { continue };
        let value = value.trim();
        // An empty value for a type lifts the app's limit.
        if value.is_empty() {
            continue;
        }
        let word = format!("{limit}={value}");
        check_limit(name, &word, value)?;
        limits.push(word);
    }
    Ok(limits.join(","))
}

/// Returns the size of a type's `/tmp` as an argument of `piku-chroot --tmp-size`; `None` for the default.
///
/// # Errors
/// Names the variable whose value is invalid.
pub(crate) fn tmp_size(kind: &str, vars: &Vars) -> anyhow::Result<Option<String>> {
    let Some((name, value)) = limit_variable(kind, "TMP_SIZE", vars) else { return Ok(None) };
    let value = value.trim();
    if value.is_empty() {
        return Ok(None);
    }
    check_limit(name, &format!("memory={value}"), value)?;
    Ok(Some(value.to_owned()))
}

/// Checks that piku-chroot accepts the limit.
fn check_limit(name: &str, word: &str, value: &str) -> Result<(), UserError> {
    let parsed = if value.contains(',') {
        Err(format!("'{value}' is more than one value"))
    } else {
        word.parse::<Parsed>().map(drop)
    };
    parsed.map_err(|err| {
        let why = err.strip_prefix(&format!("{word}: ")).unwrap_or(&err).to_owned();
        UserError::new(format!("{name}: {why}"))
    })
}

/// Returns the variable that applies to a type: its own, or the app's.
fn limit_variable<'a>(kind: &str, variable: &str, vars: &'a Vars) -> Option<(&'a String, &'a String)> {
    let own = format!("{}_{variable}", kind.to_uppercase().replace('-', "_"));
    vars.get_key_value(&own).or_else(|| vars.get_key_value(variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_type_s_own_limit_stands_over_the_app_s() {
        let vars = vars(&[
            ("MEMORY_LIMIT", "512m"),
            ("MY_WORKER_MEMORY_LIMIT", "64M"),
            ("CPU_LIMIT", "0.5"),
            ("WEB_CPU_LIMIT", ""),
            ("NOFILE_LIMIT", "1024"),
            ("PIDS_LIMIT", " 50 "),
        ]);
        assert_eq!(of("web", &vars).unwrap(), "memory=512m,pids=50,nofile=1024");
        assert_eq!(of("my-worker", &vars).unwrap(), "memory=64M,pids=50,cpu=0.5,nofile=1024");
        assert_eq!(of("web", &Vars::new()).unwrap(), "");
    }

    #[test]
    fn a_type_may_have_a_tmp_of_its_own_size() {
        let vars = vars(&[("TMP_SIZE", "128m"), ("WORKER_TMP_SIZE", "1g"), ("WEB_TMP_SIZE", "")]);
        for (kind, size) in [("worker", Some("1g")), ("release", Some("128m")), ("web", None)] {
            assert_eq!(tmp_size(kind, &vars).unwrap().as_deref(), size, "{kind}");
        }
        for bad in ["0", "lots", "-1", "101%", "5m,mode=777"] {
            let told = tmp_size("web", &super::tests::vars(&[("TMP_SIZE", bad)])).unwrap_err().to_string();
            assert!(told.starts_with("TMP_SIZE: "), "{told}");
        }
    }

    #[test]
    fn a_bad_value_is_told_with_its_variable() {
        for (name, value, word) in [
            ("MEMORY_LIMIT", "lots", "'lots' is not an amount of memory"),
            ("WEB_PIDS_LIMIT", "0", "'0' is not a number from 1 on"),
            ("CPU_LIMIT", "-1", "'-1'"),
            ("MEMORY_LIMIT", "1g,pids=3", "more than one value"),
        ] {
            let told = of("web", &vars(&[(name, value)])).unwrap_err().to_string();
            assert!(told.starts_with(&format!("{name}: ")) && told.contains(word), "{told}");
        }
    }
}
