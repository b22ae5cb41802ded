//! The parts of its tree that an app may change.

use piku_layout::writable_path::WritablePath;
use piku_procfile::writable_paths;

use crate::instance::environment::Vars;

/// Parts of its tree that the processes of an app may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeAccess {
    /// Paths that are kept in the data.
    pub(crate) kept: Vec<WritablePath>,
    /// The rest of the tree is read-only.
    pub(crate) is_read_only: bool,
}

impl TreeAccess {
    /// Reads `WRITABLE_PATHS` and `APP_READONLY`.
    ///
    /// # Errors
    /// Fails if a path is not in the app, or a value is neither yes nor no.
    pub(crate) fn of(vars: &Vars) -> anyhow::Result<Self> {
        let value = |name| vars.get(name).map(String::as_str);
        Ok(Self {
            kept: writable_paths::parse_writable_paths(value(writable_paths::VARIABLE))?,
            is_read_only: writable_paths::parse_read_only(value(writable_paths::READ_ONLY))?,
        })
    }
}
