//! Ranges of Node versions: npm's (`^20.1 || >=22`, `20.x`, `18 - 20`) and nvm's names (`lts/iron`).

use anyhow::bail;

use crate::runtime::semver_range::SemverRange;
use crate::runtime::version::{RuntimeVersion, VersionMatch};

/// Parses `20.11.1` or `v20.11.1`; a suffix after `-` or `+` is ignored.
pub(super) fn parse_exact(text: &str) -> Option<RuntimeVersion> {
    RuntimeVersion::exact(text.trim().trim_start_matches('v').split(['-', '+']).next()?)
}

/// Returns whether a text is a version or range of the registry's for npm, which takes other texts for URLs,
/// files and other packages.
pub(super) fn is_registry_range(text: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || ".-+*<>=^~| ".contains(c);
    // `1.0.0-a.tgz` is a file.
    let is_ending = |last: &str| last.starts_with(|c: char| c.is_ascii_digit() || "*xX".contains(c));
    let is_word = text.chars().all(|c| c.is_ascii_alphabetic());
    NodeRange::parse(text).is_ok()
        && text.chars().all(is_known)
        && (is_word || text.rsplit(['.', ' ', '<', '>', '=', '^', '~', '|']).next().is_some_and(is_ending))
}

/// A range of versions; only even major releases, which become LTS, if `even`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeRange {
    pub(super) range: SemverRange,
    even: bool,
}

/// Names of the LTS releases: of major version 4, 6, 8, and so on.
const LONG_TERM: [&str; 11] = [
    "argon", "boron", "carbon", "dubnium", "erbium", "fermium", "gallium", "hydrogen", "iron", "jod",
    "krypton",
];

impl NodeRange {
    /// Parses a range.
    ///
    /// # Errors
    /// Returns the reason if it is not a range.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        let of = |range, even| Ok(Self { range, even });
        match text.to_ascii_lowercase().as_str() {
            "lts/*" | "lts" | "stable" => of(SemverRange::any(), true),
            "node" | "latest" | "current" | "system" | "*" | "x" => of(SemverRange::any(), false),
            name => {
                let Some(name) = name.strip_prefix("lts/") else {
                    return of(SemverRange::parse(text)?, false);
                };
                let Some(at) = LONG_TERM.iter().position(|known| *known == name) else {
                    bail!("'{text}' is not a long-term release that piku knows");
                };
                of(SemverRange::of_major(4 + 2 * u32::try_from(at)?), false)
            }
        }
    }

    /// Compares an installed version with the range. Another version of a major release in the range is the
    /// same line.
    pub(super) fn matches(&self, version: RuntimeVersion) -> VersionMatch {
        if self.even && version.0[0] % 2 == 1 {
            return VersionMatch::Mismatch;
        }
        self.range.matches(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(asked: &str, version: &str) -> VersionMatch {
        NodeRange::parse(asked).expect(asked).matches(parse_exact(version).unwrap())
    }

    #[test]
    fn ranges_as_npm_has_them() {
        for asked in [
            "20",
            "v20",
            "20.x",
            "20.20",
            "20.20.2",
            "v20.20.2",
            "=20.20.2",
            "^20.1",
            "^20.20.2",
            "~20.20",
            "~20",
            ">=18",
            ">= 18",
            ">18",
            ">=18 <21",
            ">=18,<21",
            "<=20",
            "18 - 20",
            "18.1.0 - 20.20.2",
            "16 || 18 || 20",
            "^18 || ^20.9.0 || >=22",
            "*",
            "lts/*",
            "lts/iron",
            "LTS/Iron",
            "node",
            "system",
            "20.*",
            "~>20.20",
            ">=0.12",
            "<=20.20.2",
            ">=20.0.0-rc.1",
            "<=20.x",
        ] {
            assert_eq!(matched(asked, "20.20.2"), VersionMatch::Exact, "{asked}");
        }
        for asked in ["20.11.0", "v20.11.0", "^20.21", "~20.11", ">=20.21", "<20.1", "18 || 20.1.x"] {
            assert_eq!(matched(asked, "20.20.2"), VersionMatch::SameLine, "{asked}");
        }
        for asked in ["18", "^18 || ^22", ">20", "<20", ">=21", "lts/jod", "18 - 19", "0.12", "<20.0.0"] {
            assert_eq!(matched(asked, "20.20.2"), VersionMatch::Mismatch, "{asked}");
        }
        assert_eq!(matched("lts/*", "21.1.0"), VersionMatch::Mismatch);
        assert_eq!(matched("^0.10.3", "0.10.40"), VersionMatch::Exact);
        assert_eq!(matched("^0.10.3", "0.12.0"), VersionMatch::SameLine);
    }

    #[test]
    fn only_versions_are_of_the_registry() {
        for good in
            ["1", "9.15.0", "4.0.0-rc.50", "^20.1 || >=22", "20.x", ">=18.0.0 <19.0.0", "latest", "1.x"]
        {
            assert!(is_registry_range(good), "{good}");
        }
        for bad in [
            "https://example.org/x.tgz",
            "npm:other@1",
            "1.0.0-a.tgz",
            "1.0.0-a.tar.gz",
            "1.0.0-a@npm:other@1",
            "file:x",
            "./x",
            "user/name",
            "x.tgz",
            "",
        ] {
            assert!(!is_registry_range(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in
            ["", "twenty", "20.a", "1.2.3.4", ">=", "lts/zinc", "20 || x.y", "><20", "20.99999999999999"]
        {
            assert!(NodeRange::parse(bad).is_err(), "{bad}");
        }
    }
}
