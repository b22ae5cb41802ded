//! Versions of Rust.

use crate::runtime::version::Version;

/// Reads `1.85`, `1.85.1`, `1.95.0-nightly`.
pub(super) fn parse(text: &str) -> Option<Version> {
    Version::padded(text.trim().split('-').next()?)
}
