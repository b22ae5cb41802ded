//! Versions of languages: the one that an app requests, those that the machine has, and the installed one
//! that is nearest to the requested. Each language reads its own files and its own grammar of ranges; the
//! choice is made here, the same for all.

use std::cmp::Reverse;
use std::fmt::{self, Display};

use piku_report::user_error::UserError;

use crate::app::app_source::AppSource;
use crate::errors::join_names;

/// A version of three numbers: `3.12.1` is [3, 12, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuntimeVersion(pub(crate) [u32; 3]);

impl RuntimeVersion {
    /// Parses `3.12.1`; all three numbers are required.
    pub(super) fn exact(text: &str) -> Option<Self> {
        Self::padded(text).filter(|_| text.matches('.').count() == 2)
    }

    /// Parses `3`, `3.12` or `3.12.1`; missing numbers are 0.
    pub(super) fn padded(text: &str) -> Option<Self> {
        let mut parts = [0; 3];
        for (at, part) in text.split('.').enumerate() {
            *parts.get_mut(at)? = part.parse().ok()?;
        }
        Some(Self(parts))
    }

    /// Returns the first two numbers: `3.12`.
    pub(super) fn minor(self) -> String {
        format!("{}.{}", self.0[0], self.0[1])
    }
}

impl Display for RuntimeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// A version whose last numbers may be left open, as a file pins it: `3`, `3.12`, `3.12.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PinnedVersion {
    pub(super) version: RuntimeVersion,
    /// The count of numbers that are given, 1 to 3.
    pub(super) parts: usize,
}

impl PinnedVersion {
    /// Compares an installed version with this one. Another patch of the same X.Y is the same line.
    pub(super) fn matches(self, installed: RuntimeVersion) -> VersionMatch {
        let (pinned, found) = (self.version.0, installed.0);
        if pinned[..self.parts] == found[..self.parts] {
            VersionMatch::Exact
        } else if pinned[..2] == found[..2] {
            VersionMatch::SameLine
        } else if pinned[0] != found[0] {
            VersionMatch::Mismatch
        } else if installed > self.version {
            VersionMatch::Newer
        } else {
            VersionMatch::Older
        }
    }

    /// Compares in the same way, for compilers, which build what an older one built but not what a newer one
    /// did.
    pub(super) fn matches_or_newer(self, installed: RuntimeVersion) -> VersionMatch {
        match self.matches(installed) {
            VersionMatch::Exact => VersionMatch::Exact,
            _ if installed < self.version => VersionMatch::Mismatch,
            other => other,
        }
    }
}

/// The quality of an installed version as an answer to a request, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum VersionMatch {
    Exact,
    /// Another release of a line that was requested.
    SameLine,
    /// A later line that runs most of what the requested one runs.
    Newer,
    /// An earlier line of the same major version.
    Older,
    Mismatch,
}

/// Returns the installed version that is nearest to the request: the first one that matches best, as
/// `installed` is in order of preference; of newer lines the oldest, of older ones the newest.
pub(super) fn nearest<T>(
    installed: &[T],
    version: impl Fn(&T) -> RuntimeVersion,
    compare: impl Fn(RuntimeVersion) -> VersionMatch,
) -> Option<(&T, VersionMatch)> {
    let rank = |one: &&T| {
        let version = version(one);
        let matched = compare(version);
        let newer = (matched == VersionMatch::Newer).then_some(version);
        (matched, newer, Reverse((matched == VersionMatch::Older).then_some(version)))
    };
    let best = installed.iter().min_by_key(rank)?;
    Some((best, compare(version(best)))).filter(|(_, matched)| *matched != VersionMatch::Mismatch)
}

/// The file of asdf and mise, which names the versions of several tools.
pub(super) const TOOL_VERSIONS: &str = ".tool-versions";

/// Returns the first version that the text of [`TOOL_VERSIONS`] has for a tool, known by one of these names.
pub(super) fn find_tool_version(text: &str, tools: &[&str]) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let is_named = words.next().is_some_and(|tool| tools.contains(&tool));
        words.next().filter(|_| is_named).map(str::to_owned)
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestedVersion {
    /// The request as it is written: `3.12`, `>=20 <23`.
    pub(crate) text: String,
    /// The place of the request: `.nvmrc`, `PYTHON_VERSION in ENV`.
    pub(crate) from: String,
}

impl RequestedVersion {
    pub(super) fn new(text: impl Into<String>, from: impl Into<String>) -> Self {
        Self { text: text.into(), from: from.into() }
    }

    /// Reads the request from a variable of the app. An empty one counts as unset: so config takes back what
    /// ENV says.
    pub(super) fn from_variable(source: &AppSource, name: &str) -> Option<Self> {
        let (value, place) = source.variable(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| Self::new(value, format!("{name} in {place}")))
    }

    /// Returns the warning for an app that gets another version than it requests.
    pub(super) fn substitution(&self, language: &str, used: impl Display) -> String {
        let Self { text, from } = self;
        format!("{from} asks for {language} {text}, which is not on this machine: using the nearest, {used}")
    }

    /// Returns the error for a request that no installed version can meet.
    pub(crate) fn unmet(&self, language: &str, installed: &[impl Display]) -> UserError {
        let installed: Vec<_> = installed.iter().map(ToString::to_string).collect();
        let Self { text, from } = self;
        UserError::new(format!(
            "{from} asks for {language} {text}; this machine has {}",
            join_names(&installed)
        ))
    }

    /// Returns the error for a request that is not a version.
    pub(crate) fn malformed(&self, language: &str, why: &str) -> UserError {
        UserError::new(format!("{} asks for {language} '{}': {why}", self.from, self.text))
    }
}

/// The installed version that an app gets.
#[derive(Debug)]
pub(super) struct VersionChoice<T> {
    pub(super) installed: T,
    /// The place of the request, or what decided without one.
    pub(super) from: String,
    pub(super) warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_nothing_else() {
        assert_eq!(RuntimeVersion::exact("3.12.1"), Some(RuntimeVersion([3, 12, 1])));
        assert_eq!(RuntimeVersion::padded("3.12"), Some(RuntimeVersion([3, 12, 0])));
        assert!(RuntimeVersion::exact("3.12").is_none());
        for bad in ["", "3.", "3.12.1.4", "v3", "3.12rc1", "-1"] {
            assert!(RuntimeVersion::padded(bad).is_none(), "{bad}");
        }
        assert_eq!(RuntimeVersion([3, 12, 1]).to_string(), "3.12.1");
    }

    fn pin(text: &str) -> PinnedVersion {
        let parts = text.split('.').count();
        PinnedVersion { version: RuntimeVersion::padded(text).unwrap(), parts }
    }

    #[test]
    fn a_pinned_version_matches_by_its_parts() {
        for (pinned, installed, expected) in [
            ("3.1.2", "3.1.2", VersionMatch::Exact),
            ("3.1", "3.1.2", VersionMatch::Exact),
            ("3", "3.4.1", VersionMatch::Exact),
            ("3.1.4", "3.1.2", VersionMatch::SameLine),
            ("3.0.1", "3.1.2", VersionMatch::Newer),
            ("3.3.0", "3.1.2", VersionMatch::Older),
            ("2.7.8", "3.1.2", VersionMatch::Mismatch),
        ] {
            let installed = RuntimeVersion::exact(installed).unwrap();
            assert_eq!(pin(pinned).matches(installed), expected, "{pinned} {installed}");
        }
        assert_eq!(pin("1.85.2").matches_or_newer(RuntimeVersion([1, 85, 1])), VersionMatch::Mismatch);
        assert_eq!(pin("1.85.0").matches_or_newer(RuntimeVersion([1, 85, 1])), VersionMatch::SameLine);
    }

    #[test]
    fn the_nearest_version_is_taken() {
        let installed = ["3.11.2", "3.13.0", "3.9.1", "3.11.9", "2.7.18"].map(|text| pin(text).version);
        let found = |text: &str| {
            let nearest = nearest(&installed, |one| *one, |one| pin(text).matches(one));
            nearest.map(|(version, _)| version.to_string())
        };
        for (requested, expected) in [
            ("3.11", "3.11.2"),
            ("3.11.9", "3.11.9"),
            ("3.11.5", "3.11.2"),
            ("3.10", "3.11.2"),
            ("3.4", "3.9.1"),
            ("3.12.1", "3.13.0"),
            ("3.99", "3.13.0"),
        ] {
            assert_eq!(found(requested).as_deref(), Some(expected), "{requested}");
        }
        assert_eq!(found("4"), None);
    }
}
