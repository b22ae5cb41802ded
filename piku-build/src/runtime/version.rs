//! A version of three numbers, as all runtimes have them. How it is written, and what may be asked for, is each one's own.

use std::fmt;

/// `3.12.1` is [3, 12, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RuntimeVersion(pub(super) [u32; 3]);

impl RuntimeVersion {
    /// Reads `3.12.1`, all three numbers.
    pub(super) fn exact(text: &str) -> Option<Self> {
        Self::padded(text).filter(|_| text.matches('.').count() == 2)
    }

    /// Reads `3`, `3.12` or `3.12.1`; the numbers that are not there are 0.
    pub(super) fn padded(text: &str) -> Option<Self> {
        let mut parts = [0; 3];
        for (at, part) in text.split('.').enumerate() {
            *parts.get_mut(at)? = part.parse().ok()?;
        }
        Some(Self(parts))
    }

    /// `3.12`.
    pub(super) fn minor(self) -> String {
        format!("{}.{}", self.0[0], self.0[1])
    }
}

impl fmt::Display for RuntimeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
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
}
