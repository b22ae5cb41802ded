//! URL path prefixes, and file paths as an app writes them and as nginx can read them.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use anyhow::bail;
use piku_report::diagnostic::quote_word;

/// Maximum length of a path in bytes. nginx rejects a word of 4 kB.
const MAX_LEN: usize = 1024;

/// Maximum number of prefixes in one setting: nginx needs about 64 KiB of memory for each.
pub(super) const MAX_PREFIXES: usize = 100;

/// The beginning of a URL path, such as `/static`, without the `/` at the end. The prefix `/` is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PathPrefix(String);

impl PathPrefix {
    /// Returns the prefix without a slash at the end.
    pub(super) fn without_slash(&self) -> &str {
        &self.0
    }

    /// Returns the prefix with a slash at the end.
    pub(super) fn with_slash(&self) -> String {
        format!("{}/", self.0)
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for PathPrefix {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let shown = quote_word(given);
        let Some(rest) = given.strip_prefix('/') else {
            return Err(format!("{shown} is not a URL path: it must begin with '/'"));
        };
        if let Some(c) = given.chars().find(|c| !is_path_char(*c) || "?#;{}".contains(*c)) {
            return Err(format!("{shown}: {} is not allowed in a URL path", describe_char(c)));
        }
        if given.len() > MAX_LEN {
            return Err(format!("{shown} is longer than {MAX_LEN} bytes"));
        }
        if rest.is_empty() {
            return Ok(Self(String::new()));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        for part in rest.split('/') {
            if part.is_empty() {
                return Err(format!("{shown} has an empty part"));
            }
            if part.starts_with('.') && part != ".well-known" {
                return Err(format!("{shown}: dotfiles are never served"));
            }
        }
        if format!("/{rest}/").starts_with("/.well-known/acme-challenge/") {
            return Err(format!("{shown} is reserved for certificate requests"));
        }
        Ok(Self(format!("/{rest}")))
    }
}

/// A path as an app writes it: in its tree (`public`, `/app/public`) or in its data directory
/// (`/data/media`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AppPath {
    /// Relative to the app tree; empty for the tree itself.
    Tree(PathBuf),
    /// Relative to the data directory.
    Data(PathBuf),
}

impl FromStr for AppPath {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let shown = quote_word(given);
        if let Some(c) = given.chars().find(|c| !is_path_char(*c)) {
            return Err(format!("{shown}: {} is not allowed in a path", describe_char(c)));
        }
        if given.len() > MAX_LEN {
            return Err(format!("{shown} is longer than {MAX_LEN} bytes"));
        }
        let mut parts = PathBuf::new();
        for component in Path::new(given).components() {
            match component {
                Component::Normal(part) if part == ".git" => {
                    return Err(format!("{shown}: '.git' is never served"));
                }
                Component::Normal(part) => parts.push(part),
                Component::ParentDir => return Err(format!("{shown}: '..' is not allowed")),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        if !given.starts_with('/') {
            return Ok(Self::Tree(parts));
        }
        if let Ok(below) = parts.strip_prefix("app") {
            return Ok(Self::Tree(below.to_owned()));
        }
        if let Ok(below) = parts.strip_prefix("data") {
            return Ok(Self::Data(below.to_owned()));
        }
        Err(format!("{shown} is not a path of the app: use a relative path, or one below '/app' or '/data'"))
    }
}

/// Returns true for a character that nginx reads literally in a path: no control character, and no `$`,
/// which begins a variable.
fn is_path_char(c: char) -> bool {
    c != '$' && !c.is_control()
}

fn describe_char(c: char) -> String {
    if c.is_control() { format!("a control character (U+{:04X})", u32::from(c)) } else { format!("'{c}'") }
}

/// Converts the path that the caller gave for `option`, if any, to text that nginx reads literally.
pub(super) fn to_nginx_path(path: Option<&Path>, option: &str) -> anyhow::Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    let shown = path.display();
    let Some(text) = path.to_str() else { bail!("{option}: '{shown}' is not UTF-8") };
    if !path.is_absolute() {
        bail!("{option}: '{shown}' is not an absolute path");
    }
    if let Some(c) = text.chars().find(|c| !is_path_char(*c)) {
        bail!("{option}: '{shown}': nginx does not support {} in a path", describe_char(c));
    }
    if text.len() > MAX_LEN {
        bail!("{option}: longer than {MAX_LEN} bytes");
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (given, bare) in [("/", ""), ("/static", "/static"), ("/a/b/", "/a/b"), ("/a b", "/a b")] {
            assert_eq!(given.parse::<PathPrefix>().expect(given).without_slash(), bare);
        }
        for given in [
            "",
            "static",
            "//",
            "/a//b",
            "/..",
            "/a/../b",
            "/.git",
            "/$uri",
            "/a\nb",
            "/a;b",
            "/a{b",
            "/a}",
            "/a?b",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challenge/x",
            &format!("/{}", "a".repeat(1024)),
        ] {
            assert!(given.parse::<PathPrefix>().is_err(), "{given:?}");
        }
        assert!("/.well-known".parse::<PathPrefix>().is_ok());
    }

    #[test]
    fn paths_of_an_app() {
        for (given, path) in [
            ("public", AppPath::Tree("public".into())),
            ("./a/b/", AppPath::Tree("a/b".into())),
            (".", AppPath::Tree("".into())),
            ("/app", AppPath::Tree("".into())),
            ("/app/public", AppPath::Tree("public".into())),
            ("/data/media", AppPath::Data("media".into())),
            (".output/public", AppPath::Tree(".output/public".into())),
            ("a;b{c}\"d'", AppPath::Tree("a;b{c}\"d'".into())),
        ] {
            assert_eq!(given.parse::<AppPath>().expect(given), path);
        }
        for given in
            ["/etc", "/", "/apple", "..", "a/../..", "/data/../etc", "a/.git", "$HOME", "a\nb", "a\0b"]
        {
            assert!(given.parse::<AppPath>().is_err(), "{given:?}");
        }
    }
}
