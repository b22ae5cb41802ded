//! The limit of what a build reads of an app before the first step: workspaces, modules and includes name
//! further files, and a hostile app has millions of them.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use piku_report::user_error::UserError;

use crate::errors;

/// The largest number of files and folders.
const MAX_FILES: usize = 100_000;
/// The largest number of bytes in all files together.
const MAX_BYTES: usize = 250_000_000;

/// Counts the files, folders and bytes that are read of an app. A file that is read twice counts twice.
#[derive(Debug, Default)]
pub(crate) struct ReadBudget {
    files: AtomicUsize,
    bytes: AtomicUsize,
}

impl ReadBudget {
    /// Counts one file or folder.
    ///
    /// # Errors
    /// Fails if it exceeds the limit.
    pub(crate) fn spend(&self, name: &Path, bytes: usize) -> Result<(), UserError> {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if files > MAX_FILES || bytes > MAX_BYTES {
            return Err(errors::too_much_to_read(name, MAX_FILES, MAX_BYTES));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_bytes_are_limited() {
        let budget = ReadBudget::default();
        let half = MAX_BYTES / 2;
        let name = Path::new("a/pom.xml");
        assert!(budget.spend(name, half).is_ok() && budget.spend(name, half).is_ok());
        let refused = budget.spend(name, 1).unwrap_err().to_string();
        assert_eq!(
            refused,
            "'a/pom.xml': before its first step a build reads at most 100000 files and folders of an app, and 250 MB"
        );
        let budget = ReadBudget::default();
        assert!((0..MAX_FILES).all(|_| budget.spend(name, 0).is_ok()));
        assert!(budget.spend(name, 0).is_err());
    }
}
