//! Where things are for steps and processes: the jail's own places, and what it shows of the machine.

use std::path::{Path, PathBuf};

/// Where programs are, inside the jail and in every step.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The app inside the jail.
pub(crate) const APP: &str = "/app";

/// A folder that a step sees.
#[derive(Debug, Clone)]
pub(crate) struct StepMount {
    /// Where it is.
    pub(crate) real: PathBuf,
    /// Where the step sees it; the same where there is no jail.
    pub(crate) inside: PathBuf,
    /// Whether the step may write to it.
    pub(crate) writable: bool,
}

impl StepMount {
    /// A folder of the machine, read-only where it is.
    pub(crate) fn same(folder: &Path) -> Self {
        Self { real: folder.to_owned(), inside: folder.to_owned(), writable: false }
    }
}
