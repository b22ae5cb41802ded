//! Removes secrets from the logs of deploys: what programs print of the values that the operator has set, and what
//! looks like a password.

use std::path::Path;

use piku_files::TreeHandle;
use piku_layout::paths::AppDir;
use piku_layout::settings::HostSettings;
use piku_procfile::env;

use crate::config::ConfigValues;
use crate::config::store;

/// Text in place of a secret.
const REMOVED: &str = "[secret]";
/// Shortest value that is removed.
const SHORTEST: usize = 4;
/// Longest lower-case word that is taken for a secret only by the name of its setting: `production`.
const LONGEST_WORD: usize = 12;
/// Parts of the names of settings that are secrets.
const SECRET_NAMES: [&str; 11] = [
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "PRIVATE",
    "APIKEY",
    "_KEY",
    "AUTH",
    "DSN",
];
/// Largest ENV file that is searched for secrets.
const MAX_ENV_BYTES: u64 = 256 << 10;

/// Texts that are removed.
#[derive(Debug, Default)]
pub(super) struct SecretFilter {
    /// The longest first: one may contain another.
    secrets: Vec<String>,
}

impl SecretFilter {
    /// Collects the values of the app's config, of all its releases on disk, and of the builds of this machine; of
    /// the `ENV` file only those whose names say that they are secret.
    pub(super) fn read(dir: &AppDir, settings: &HostSettings) -> Self {
        let mut pairs: Vec<(String, String)> = Vec::new();
        pairs.extend(ConfigValues::read(&dir.config()).unwrap_or_default().0);
        for number in dir.release_numbers().unwrap_or_default() {
            pairs.extend(store::of_release(dir, number).ok().flatten().unwrap_or_default().0);
        }
        pairs.extend(settings.build_env.clone());
        if let Some(number) = dir.current_number() {
            let shipped = read_env(&dir.release(number).join(piku_release::manifest::TREE));
            pairs.extend(shipped.into_iter().filter(|(name, _)| is_secret_name(name)));
        }
        Self::new(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Collects the secrets among these settings.
    pub(super) fn new<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut secrets = Vec::new();
        for (name, value) in settings {
            let value = value.trim();
            if !is_secret(name, value) {
                continue;
            }
            secrets.push(value.to_owned());
            // A program may indent or quote each line of a key.
            let lines =
                value.lines().map(str::trim).filter(|line| line.len() >= 16 && !line.starts_with("---"));
            secrets.extend(lines.map(str::to_owned));
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets }
    }

    /// Returns the text without secrets.
    pub(super) fn remove_secrets(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in self.secrets.iter().filter(|secret| text.contains(secret.as_str())) {
            clean = clean.replace(secret, REMOVED);
        }
        clean.split('\n').map(remove_from_line).collect::<Vec<_>>().join("\n")
    }
}

/// Returns true if the value of this setting may be a secret.
fn is_secret(name: &str, value: &str) -> bool {
    let is_word = value.len() <= LONGEST_WORD && value.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_short_number = value.len() < 6 && value.bytes().all(|byte| byte.is_ascii_digit());
    // Host names and other settings of nginx, which deploys print.
    let is_public = name.starts_with("NGINX_") && !is_secret_name(name);
    value.len() >= SHORTEST && !is_public && (is_secret_name(name) || !(is_word || is_short_number))
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    name == "KEY" || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Removes the passwords of URLs, and what is assigned to a name that says it is secret.
fn remove_from_line(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut is_next_secret = false;
    for word in line.split(' ') {
        if is_next_secret && !word.is_empty() {
            words.push(REMOVED.to_owned());
            is_next_secret = false;
            continue;
        }
        is_next_secret |= word.eq_ignore_ascii_case("bearer") || is_option_of_secret(word);
        words.push(remove_from_word(word));
    }
    words.join(" ")
}

/// Returns true for an option such as `--password`, whose value is the next word.
fn is_option_of_secret(word: &str) -> bool {
    word.strip_prefix("--").is_some_and(|name| !name.contains('=') && is_secret_name(name))
}

fn remove_from_word(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((user, host)) = authority.rsplit_once('@').filter(|(user, _)| user.contains(':')) {
            let name = user.split(':').next().unwrap_or_default();
            return format!("{scheme}://{name}:{REMOVED}@{host}{}", &rest[authority.len()..]);
        }
        return word.to_owned();
    }
    let Some((left, value)) = word.split_once('=') else { return word.to_owned() };
    let name =
        left.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
    let is_removed = !value.is_empty() && is_secret_name(name);
    if is_removed { format!("{left}={REMOVED}") } else { word.to_owned() }
}

/// Reads the assignments of the `ENV` file of a tree, as far as they have one line. A bad file has none.
fn read_env(tree: &Path) -> Vec<(String, String)> {
    let text = TreeHandle::open(tree).and_then(|tree| tree.read_bounded(env::FILE, MAX_ENV_BYTES));
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let assign = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
    };
    text.lines().filter_map(assign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_settings_are_removed_unless_they_are_plain_words() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END KEY-----";
        let filter = SecretFilter::new([
            ("MAGIC", "Tr0ub4dor&3"),
            ("LONGER", "Tr0ub4dor&3-and-more"),
            ("APP_PASSWORD", "hunter"),
            ("TLS", key),
            ("ENVIRONMENT", "production"),
            ("WORKERS", "4"),
            ("PORT_SETTING", "8080"),
            ("NGINX_SERVER_NAME", "blog.example.org"),
            ("NGINX_BASIC_AUTH", "ops:letmein"),
        ]);
        for (text, expected) in [
            ("got Tr0ub4dor&3 and Tr0ub4dor&3-and-more", "got [secret] and [secret]"),
            ("hunter ops:letmein", "[secret] [secret]"),
            ("  > MIIEvQIBADANBgkqhkiG9w0B", "  > [secret]"),
            (
                "NODE_ENV=production on 8080 for blog.example.org",
                "NODE_ENV=production on 8080 for blog.example.org",
            ),
        ] {
            assert_eq!(filter.remove_secrets(text), expected);
        }
        assert!(!filter.remove_secrets(&format!("a\n{key}\nb")).contains("MIIE"));
    }

    #[test]
    fn what_looks_like_a_password_is_removed() {
        let filter = SecretFilter::default();
        for (text, expected) in [
            ("clone https://me:pa:ss@example.org/a?b#c ok", "clone https://me:[secret]@example.org/a?b#c ok"),
            ("at https://example.org:8080/x@y", "at https://example.org:8080/x@y"),
            ("export API_TOKEN=abc DB_PASSWORD='x'", "export API_TOKEN=[secret] DB_PASSWORD=[secret]"),
            ("Authorization: Bearer abc.def x", "Authorization: Bearer [secret] x"),
            ("run --password hunter2 --verbose", "run --password [secret] --verbose"),
            ("CACHE_KEY= and a=b", "CACHE_KEY= and a=b"),
            ("plain\n\n  text", "plain\n\n  text"),
        ] {
            assert_eq!(filter.remove_secrets(text), expected);
        }
    }
}
