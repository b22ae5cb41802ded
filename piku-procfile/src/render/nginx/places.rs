//! Where things are: the part of an address that a folder is served at, a folder in the app's tree, a port to listen on.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use anyhow::anyhow;
use piku_report::diagnostic::word;

/// The longest of them; nginx refuses a word of 4 kB.
const MAX_LEN: usize = 1024;

/// The beginning of an address' path, such as `/static`: with no `/` at its end; `/` itself is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PathPrefix(String);

impl PathPrefix {
    /// Without a slash at the end.
    pub(super) fn bare(&self) -> &str {
        &self.0
    }

    /// With a slash at the end.
    pub(super) fn folder(&self) -> String {
        format!("{}/", self.0)
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for PathPrefix {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let shown = word(given);
        let Some(rest) = given.strip_prefix('/') else {
            return Err(format!("{shown} is no path of an address: it begins with '/'"));
        };
        if let Some(c) = given.chars().find(|c| !in_path(*c) || "?#;{}".contains(*c)) {
            return Err(format!("{shown}: {} cannot be in an address here", character(c)));
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
                return Err(format!("{shown}: what begins with a dot is never served"));
            }
        }
        if format!("/{rest}/").starts_with("/.well-known/acme-challenge/") {
            return Err(format!("{shown} is where certificates are asked for"));
        }
        Ok(Self(format!("/{rest}")))
    }
}

/// A path as the app sees it: in its own tree (`public`, `/app/public`) or among its data (`/data/media`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AppPath {
    /// Below the tree; empty for the tree itself.
    Tree(PathBuf),
    /// Below the data folder.
    Data(PathBuf),
}

impl FromStr for AppPath {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let shown = word(given);
        if let Some(c) = given.chars().find(|c| !in_path(*c)) {
            return Err(format!("{shown}: {} cannot be in a path here", character(c)));
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
                Component::ParentDir => return Err(format!("{shown} leads out of the app with '..'")),
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
        Err(format!("{shown} is not the app's own: a path begins in its folder, at '/app' or at '/data'"))
    }
}

/// A path or address as text that nginx takes as it stands: no `$`, which begins a variable wherever it is, and nothing
/// that has no shape.
fn in_path(c: char) -> bool {
    c != '$' && !c.is_control()
}

fn character(c: char) -> String {
    if c.is_control() { format!("a control character (U+{:04X})", u32::from(c)) } else { format!("'{c}'") }
}

/// A path that the caller may have given, as text for nginx.
pub(super) fn path(path: Option<&Path>, option: &str) -> anyhow::Result<Option<String>> {
    path.map(|path| text_of(path, option).map_err(|message| anyhow!(message))).transpose()
}

/// A path of the caller's as nginx can have it.
pub(super) fn text_of(path: &Path, option: &str) -> Result<String, String> {
    let shown = path.display();
    let text = path.to_str().ok_or_else(|| format!("{option}: '{shown}' is not UTF-8"))?;
    if !path.is_absolute() {
        return Err(format!("{option}: '{shown}' is not an absolute path"));
    }
    match text.chars().find(|c| !in_path(*c)) {
        Some(c) => Err(format!("{option}: '{shown}': nginx cannot have {} in a path", character(c))),
        None if text.len() > MAX_LEN => Err(format!("{option}: longer than {MAX_LEN} bytes")),
        None => Ok(text.to_owned()),
    }
}

/// Where one instance of the app listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAddress(String);

impl UpstreamAddress {
    /// `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<std::net::SocketAddr> for UpstreamAddress {
    fn from(socket: std::net::SocketAddr) -> Self {
        Self(socket.to_string())
    }
}

impl FromStr for UpstreamAddress {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let bad = || format!("{} is not HOST:PORT", word(given));
        if let Ok(socket) = given.parse::<std::net::SocketAddr>() {
            return if socket.port() == 0 { Err(bad()) } else { Ok(socket.into()) };
        }
        let (host, port) = given.rsplit_once(':').ok_or_else(bad)?;
        let host: super::HostName = host.parse().map_err(|_| bad())?;
        match port.parse::<u16>() {
            Ok(port) if port > 0 && !host.as_str().contains('*') => {
                Ok(Self(format!("{}:{port}", host.as_str())))
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (given, bare) in [("/", ""), ("/static", "/static"), ("/a/b/", "/a/b"), ("/a b", "/a b")] {
            assert_eq!(given.parse::<PathPrefix>().expect(given).bare(), bare);
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

    #[test]
    fn upstream_addresses() {
        for (given, wanted) in
            [("127.0.0.1:5000", "127.0.0.1:5000"), ("[::1]:1", "[::1]:1"), ("App:1", "app:1")]
        {
            assert_eq!(given.parse::<UpstreamAddress>().unwrap().as_str(), wanted);
        }
        for bad in ["", "5000", "a:0", "a:x", "a b:1", "unix:/x:1", "*.a:1", "127.0.0.1:0", "a:1 backup"] {
            assert!(bad.parse::<UpstreamAddress>().is_err(), "{bad}");
        }
    }
}
