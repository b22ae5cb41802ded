//! Paths in messages.

use std::path::Path;

/// How a path is shown in a message.
#[must_use]
pub(crate) fn shown(path: &Path) -> String {
    format!("'{}'", path.display().to_string().escape_debug())
}
