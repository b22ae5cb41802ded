//! Names that exist only when they are good: an [`AppName`] can be joined to a path, put into a host name
//! or a socket's address without another look. Parsed at the edge, a type from there on.

use std::fmt;
use std::str::FromStr;

use piku_report::diagnostic::shorten_text;
use serde::{Deserialize, Serialize};

/// The longest name of an app or of a process type, in bytes: a DNS label's length (RFC 1035, 2.3.4).
pub const MAX_LEN: usize = 63;
/// The largest number of characters of a bad name that a message repeats: a good one and what is wrong
/// with a slightly longer one.
const SHOWN: usize = 80;

/// Error of a bad name. `Display` is one line that says what a good name looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    what: &'static str,
    given: String,
    rule: &'static str,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad {} {:?}: {}", self.what, shorten_text(&self.given, SHOWN), self.rule)
    }
}

impl std::error::Error for BadName {}

/// An app's name: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, a DNS label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(String);

impl AppName {
    /// Returns the checked name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppName {
    type Err = BadName;

    fn from_str(given: &str) -> Result<Self, BadName> {
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let bytes = given.as_bytes();
        let good = !bytes.is_empty()
            && bytes.len() <= MAX_LEN
            && bytes.iter().all(inner)
            && !given.starts_with('-')
            && !given.ends_with('-');
        if good {
            Ok(Self(given.to_owned()))
        } else {
            Err(BadName {
                what: "app name",
                given: given.to_owned(),
                rule: "use 1 to 63 of a-z, 0-9 and '-', with no '-' at either end",
            })
        }
    }
}

/// A process type's name as a Procfile has it: `[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?`, at most 63
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessName(String);

impl ProcessName {
    /// Largest number of instances of a type; more is a typing error.
    pub const MAX_INSTANCES: u32 = 1000;

    /// Returns the checked name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProcessName {
    type Err = BadName;

    fn from_str(given: &str) -> Result<Self, BadName> {
        let inner = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_';
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = given.as_bytes();
        if bytes.len() <= MAX_LEN && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last()) {
            Ok(Self(given.to_owned()))
        } else {
            Err(BadName {
                what: "process type",
                given: given.to_owned(),
                rule: "use 1 to 63 of A-Z, a-z, 0-9, '-' and '_', with a letter or digit at either end",
            })
        }
    }
}

macro_rules! text_of {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(given: String) -> Result<Self, BadName> {
                given.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}
text_of!(AppName, ProcessName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_are_dns_labels() {
        let longest = "a".repeat(63);
        for good in ["a", "7", "blog", "blog2", "my-app", "a--b", &longest] {
            assert_eq!(good.parse::<AppName>().expect(good).as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in
            ["", ".", "..", "-a", "a-", "A", "a_b", "a.b", "a/b", "a b", "blog*", "ä", "a\n", &too_long]
        {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_quotes_what_was_given() {
        let refusal = "../x".parse::<AppName>().unwrap_err().to_string();
        assert_eq!(
            refusal,
            "bad app name \"../x\": use 1 to 63 of a-z, 0-9 and '-', with no '-' at either end"
        );
        let long = "ä".repeat(2000).parse::<ProcessName>().unwrap_err().to_string();
        assert!(long.starts_with(&format!("bad process type \"{}…\": use 1", "ä".repeat(80))), "{long}");
    }

    #[test]
    fn process_types_may_have_capitals_and_underscores() {
        for good in ["web", "Web_1", "my-worker", "1", "a_b-c"] {
            assert!(good.parse::<ProcessName>().is_ok(), "{good:?}");
        }
        for bad in ["", "1-", "_a", "wéb", "web.1", "a b", &"a".repeat(64)] {
            assert!(bad.parse::<ProcessName>().is_err(), "{bad:?}");
        }
    }
}
