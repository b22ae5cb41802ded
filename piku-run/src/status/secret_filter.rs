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
    // Not `Author:` of a commit.
    let name = name.replace("AUTHORI", "AUTH-I").replace("AUTHOR", "");
    name == "KEY" || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Part of the next words that is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecretWords {
    None,
    /// The next word, with those up to its closing quote.
    Next,
    /// All up to this quote.
    UpTo(char),
}

/// Removes the credentials of URLs and headers, and what is assigned to a name that says it is secret.
fn remove_from_line(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut secret = SecretWords::None;
    for word in line.split(' ') {
        let is_separator = matches!(word, "=" | ":" | "=>" | ":=");
        let is_value = !word.is_empty() && !is_separator && !is_scheme(word);
        let follows_name = || words.last().is_some_and(|name| is_secret_name(last_name(name)));
        let (clean, next) = match secret {
            SecretWords::UpTo(quote) if word.contains(quote) => (remove_value(word), SecretWords::None),
            SecretWords::UpTo(_) => (remove_value(word), secret),
            SecretWords::Next if is_value => (remove_value(word), words_after(word)),
            SecretWords::Next => (word.to_owned(), secret),
            SecretWords::None if is_separator && follows_name() => (word.to_owned(), SecretWords::Next),
            SecretWords::None if word.eq_ignore_ascii_case("bearer") || is_name_of_secret(word) => {
                (word.to_owned(), SecretWords::Next)
            }
            SecretWords::None => match value_of_secret(word) {
                Some(value) if is_scheme(value) => (word.to_owned(), SecretWords::Next),
                Some(value) => {
                    let name = &word[..word.len() - value.len()];
                    (format!("{name}{}", remove_value(value)), words_after(value))
                }
                None => (remove_from_urls(word), secret),
            },
        };
        words.push(clean);
        secret = next;
    }
    words.join(" ")
}

/// Returns true for the name of a way to authenticate, after which the credentials follow.
fn is_scheme(word: &str) -> bool {
    let word = word.trim_start_matches(QUOTES);
    ["bearer", "basic", "token"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Returns true for a name whose value is the next word: `--password`, `"password":`.
fn is_name_of_secret(word: &str) -> bool {
    let option = word.strip_prefix("--").filter(|name| !name.contains('='));
    let field = word.strip_suffix(':').map(last_name);
    option.or(field).is_some_and(is_secret_name)
}

/// Returns what the word assigns to a name that says it is secret, unless that is in a URL or a path.
fn value_of_secret(word: &str) -> Option<&str> {
    let end = word.find(['/', '?']).unwrap_or(word.len());
    let separators = word[..end].match_indices(['=', ':']).map(|(at, _)| at);
    let at = separators.into_iter().find(|at| is_secret_name(last_name(&word[..*at])))?;
    Some(&word[at + 1..]).filter(|value| !value.is_empty() && !value.starts_with("//"))
}

/// Returns which words after this value belong to it.
fn words_after(value: &str) -> SecretWords {
    let quote = value.chars().next().filter(|first| QUOTES.contains(first));
    quote.filter(|quote| !value[1..].contains(*quote)).map_or(SecretWords::None, SecretWords::UpTo)
}

/// Replaces a value; quotes, and what ends a list or an object, stay.
fn remove_value(word: &str) -> String {
    let start = word.len() - word.trim_start_matches(QUOTES).len();
    let end = start + word[start..].trim_end_matches(is_end).len();
    let removed = if start == end { "" } else { REMOVED };
    format!("{}{removed}{}", &word[..start], &word[end..])
}

const QUOTES: [char; 2] = ['"', '\''];

fn is_end(one: char) -> bool {
    QUOTES.contains(&one) || ",;)]}".contains(one)
}

/// Returns the name at the end of a text such as `{"password"`.
fn last_name(text: &str) -> &str {
    let text = text.trim_end_matches(QUOTES);
    text.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default()
}

/// Removes of each URL in a word the user, which may be a token, the password, and parameters with secret names.
fn remove_from_urls(word: &str) -> String {
    let mut parts = word.split("://");
    let first = remove_parameters(parts.next().unwrap_or_default());
    let others = parts.map(|part| {
        let authority = part.split(['/', '?', '#']).next().unwrap_or_default();
        let path = remove_parameters(&part[authority.len()..]);
        match authority.rsplit_once('@') {
            Some((_, host)) => format!("{REMOVED}@{host}{path}"),
            None => format!("{authority}{path}"),
        }
    });
    std::iter::once(first).chain(others).collect::<Vec<_>>().join("://")
}

/// Removes the values of the parameters `name=value` with secret names.
fn remove_parameters(text: &str) -> String {
    let is_bound = |one: char| "/?#&;".contains(one);
    let remove = |part: &str| {
        let Some((name, value)) = part.split_once('=') else { return part.to_owned() };
        let end = value.trim_end_matches(|one| is_bound(one) || is_end(one)).len();
        let is_removed = end > 0 && is_secret_name(last_name(name));
        if is_removed { format!("{name}={REMOVED}{}", &value[end..]) } else { part.to_owned() }
    };
    text.split_inclusive(is_bound).map(remove).collect()
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
            ("clone https://me:pa:ss@example.org/a?b#c ok", "clone https://[secret]@example.org/a?b#c ok"),
            ("https://ghp_TOKEN@github.com/me/app.git", "https://[secret]@github.com/me/app.git"),
            ("get https://a.test/p?x=1&token=abc&y=2#z", "get https://a.test/p?x=1&token=[secret]&y=2#z"),
            ("(https://a.test/?api_key=abc)", "(https://a.test/?api_key=[secret])"),
            ("POST /in?access_token=abc&y=2", "POST /in?access_token=[secret]&y=2"),
            ("WEBHOOK_SECRET=https://hooks.test/T/B/x", "WEBHOOK_SECRET=[secret]"),
            ("HOOK=https://hooks.test/T/B/x", "HOOK=https://hooks.test/T/B/x"),
            ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [secret]"),
            ("curl -H 'Authorization: Bearer abc' x", "curl -H 'Authorization: Bearer [secret]' x"),
            (
                r#"{"user": "x", "password": "abc", "n": 1}"#,
                r#"{"user": "x", "password": "[secret]", "n": 1}"#,
            ),
            (r#"{"n":1,"password":"abc","m":1}"#, r#"{"n":1,"password":"[secret]}"#),
            (r#"{"Authorization": "Basic abc", "n": 1}"#, r#"{"Authorization": "Basic [secret]", "n": 1}"#),
            ("authorization:Token abc x", "authorization:Token [secret] x"),
            ("A_TOKEN='a b c' d", "A_TOKEN='[secret] [secret] [secret]' d"),
            ("token: 'a b' c", "token: '[secret] [secret]' c"),
            ("https://a.test,https://me:abc@b.test", "https://a.test,https://[secret]@b.test"),
            ("PASSWORD=ab/c&d", "PASSWORD=[secret]"),
            ("Author: Alice <a@b.test>", "Author: Alice <a@b.test>"),
            ("using basic checks of https://a.test", "using basic checks of https://a.test"),
            ("PASSWORD: abc", "PASSWORD: [secret]"),
            ("DB_PASSWORD = abc", "DB_PASSWORD = [secret]"),
            ("12:30:01 module::load: done", "12:30:01 module::load: done"),
            ("at https://example.org:8080/x@y", "at https://example.org:8080/x@y"),
            ("export API_TOKEN=abc DB_PASSWORD='x'", "export API_TOKEN=[secret] DB_PASSWORD='[secret]'"),
            ("Authorization: Bearer abc.def x", "Authorization: Bearer [secret] x"),
            ("run --password hunter2 --verbose", "run --password [secret] --verbose"),
            ("CACHE_KEY= and a=b", "CACHE_KEY= and a=b"),
            ("plain\n\n  text", "plain\n\n  text"),
        ] {
            assert_eq!(filter.remove_secrets(text), expected);
        }
    }
}
