//! Host names, of apps and of the instances that nginx passes requests to.

use std::net::SocketAddr;
use std::str::FromStr;

use piku_layout::front_key::FRONT_DOMAIN;
use piku_report::diagnostic::quote_word;

/// Maximum length in bytes, without the dot at the end (RFC 1035, 2.3.4).
const MAX_LEN: usize = 253;

/// A host name in lower case. `*.` in front stands for all names below it; `_` for all that no app has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    /// Returns the name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true for `_`, which gets the requests for host names that no app has.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == super::DEFAULT_NAME
    }

    /// Returns true if requests for the other name are for this one.
    pub(super) fn matches(&self, other: &Self) -> bool {
        let below = self.0.strip_prefix('*').is_some_and(|end| other.0.ends_with(end));
        self == other || below
    }

    /// Returns true if it stands for other names.
    #[must_use]
    pub(crate) fn is_pattern(&self) -> bool {
        self.is_default() || self.0.starts_with("*.")
    }
}

/// The regular expression that stands for [`super::DEFAULT_NAME`]. `$server_name` is the same text.
pub(super) const DEFAULT_PATTERN: &str = "~^";

pub(super) const HINT: &str =
    "write a name such as 'blog.example.org', or '*.example.org' for all names below it";

impl FromStr for HostName {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let shown = quote_word(given);
        let name = given.to_ascii_lowercase();
        let base = name.strip_prefix("*.").unwrap_or(&name);
        if !given.is_ascii() {
            return Err(format!(
                "{shown} is not ASCII: use the DNS form, such as 'xn--mnchen-3ya.de' for 'münchen.de'"
            ));
        }
        if given == "_" {
            return Ok(Self(name));
        }
        if given == "*" {
            return Err(format!(
                "{shown} is not a host name: '_' gets the requests for names that no app has"
            ));
        }
        if given.contains("://") || given.contains('/') {
            return Err(format!("{shown} is a URL, not a host name: leave out 'http://' and the path"));
        }
        if given.contains(':') {
            return Err(format!("{shown} has a port: leave it out"));
        }
        if given.starts_with('~') {
            return Err(format!("{shown} is a regular expression, not a host name"));
        }
        if base.contains('*') {
            return Err(format!("{shown}: '*' is only allowed at the beginning, before a dot"));
        }
        if name.len() > MAX_LEN {
            return Err(format!("{shown} is longer than {MAX_LEN} characters"));
        }
        let label = |label: &str| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len())
                && label.bytes().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !base.split('.').all(label) {
            return Err(format!("{shown} is not a host name"));
        }
        if base == FRONT_DOMAIN || base.strip_suffix(FRONT_DOMAIN).is_some_and(|rest| rest.ends_with('.')) {
            return Err(format!("{shown} belongs to piku's fronts"));
        }
        Ok(Self(name))
    }
}

/// Address of an instance, `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAddress(String);

impl UpstreamAddress {
    /// Returns `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<SocketAddr> for UpstreamAddress {
    fn from(socket: SocketAddr) -> Self {
        Self(socket.to_string())
    }
}

impl FromStr for UpstreamAddress {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let bad = || format!("{} is not HOST:PORT", quote_word(given));
        if let Ok(socket) = given.parse::<SocketAddr>() {
            return if socket.port() == 0 { Err(bad()) } else { Ok(socket.into()) };
        }
        let (host, port) = given.rsplit_once(':').ok_or_else(bad)?;
        let host: HostName = host.parse().map_err(|_| bad())?;
        match port.parse::<u16>() {
            Ok(port) if port > 0 && !host.is_pattern() => Ok(Self(format!("{}:{port}", host.as_str()))),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        for (given, name) in [
            ("blog.example.org", "blog.example.org"),
            ("Blog.Example.ORG", "blog.example.org"),
            ("*.example.org", "*.example.org"),
            ("raspberrypi", "raspberrypi"),
            ("192.168.1.5", "192.168.1.5"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            ("a_b.example.org", "a_b.example.org"),
            ("_", "_"),
            (&longest, &longest),
        ] {
            assert_eq!(given.parse::<HostName>().expect(given).as_str(), name);
        }
    }

    #[test]
    fn bad_names() {
        for given in [
            "",
            "*",
            "*.",
            "a..b",
            ".example.org",
            "example.org.",
            "*example.org",
            "a.*.org",
            "www.example.*",
            "~^(.*)$",
            "http://example.org",
            "example.org/x",
            "example.org:80",
            "[::1]",
            "a b",
            "a;b",
            "a{b",
            "a}b",
            "$host",
            "a\"b",
            "a'b",
            "a\nb",
            "a#b",
            "a\\b",
            "-a.org",
            "a-.org",
            "münchen.de",
            "front.piku.internal",
            "*.front.piku.internal",
            "a.Front.piku.internal",
            &"a".repeat(64),
            &"a.".repeat(127),
        ] {
            assert!(given.parse::<HostName>().is_err(), "{given:?}");
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
