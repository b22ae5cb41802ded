//! A host name that nginx serves an app for.

use std::str::FromStr;

use piku_report::diagnostic::word;

/// The longest host name, in bytes (RFC 1035, 2.3.4, without the dot at the end).
const MAX_LEN: usize = 253;

/// A host name in lower case, or one with `*.` in front, which stands for all names below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What to write instead; a message of [`HostName::from_str`] has no room for it.
pub(super) const HINT: &str = "names are such as 'blog.example.org', or '*.example.org' for all below it";

impl FromStr for HostName {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let shown = word(given);
        let name = given.to_ascii_lowercase();
        let base = name.strip_prefix("*.").unwrap_or(&name);
        if !given.is_ascii() {
            return Err(format!(
                "{shown} is not ASCII: write the form that DNS has, such as 'xn--mnchen-3ya.de' for 'münchen.de'"
            ));
        }
        if given == "_" || given == "*" {
            return Err(format!("{shown} is no host name: an app gets the requests for its own names only"));
        }
        if given.contains("://") || given.contains('/') {
            return Err(format!("{shown} is an address, not a host name: leave out 'http://' and the path"));
        }
        if given.contains(':') {
            return Err(format!("{shown} has a port; a host name has none"));
        }
        if given.starts_with('~') {
            return Err(format!("{shown} is a regular expression, not a host name"));
        }
        if base.contains('*') {
            return Err(format!("{shown}: a '*' stands only at the front, before a dot"));
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
            return Err(format!("{shown} is no host name"));
        }
        Ok(Self(name))
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
            (&longest, &longest),
        ] {
            assert_eq!(given.parse::<HostName>().expect(given).as_str(), name);
        }
    }

    #[test]
    fn bad_names() {
        for given in [
            "",
            "_",
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
            &"a".repeat(64),
            &"a.".repeat(127),
        ] {
            assert!(given.parse::<HostName>().is_err(), "{given:?}");
        }
    }
}
