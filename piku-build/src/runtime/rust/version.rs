//! Versions of Rust.

use crate::runtime::version::RuntimeVersion;

/// Reads `1.85`, `1.85.1`, `1.95.0-nightly`.
pub(super) fn parse(text: &str) -> Option<RuntimeVersion> {
    RuntimeVersion::padded(text.trim().split('-').next()?)
}
