//! The root that a command line names, and a clear error where there is none.

#![expect(clippy::disallowed_methods, reason = "piku's own folders")]

use std::path::PathBuf;
use std::{fs, io};

use piku_report::user_error::UserError;

use super::PikuRoot;

impl PikuRoot {
    /// Returns the given directory, or else `~/.piku`, with an absolute path: programs in other directories use it.
    ///
    /// # Errors
    /// Fails as [`PikuRoot::new`] does, and if the path cannot be made absolute.
    pub fn absolute(given: Option<PathBuf>) -> io::Result<Self> {
        std::path::absolute(Self::new(given)?.0).map(Self)
    }

    /// Refuses a root that does not exist: piku is not set up there, or its path is misspelt.
    ///
    /// # Errors
    /// Fails if there is no such directory, or if it cannot be reached.
    pub fn check_exists(&self) -> Result<(), UserError> {
        let at = self.0.display();
        match fs::metadata(&self.0) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(UserError::new(format!("the root '{at}' is not a directory"))),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                Err(UserError::new(format!("the root '{at}' does not exist"))
                    .hint("--root or PIKU_ROOT names another; 'piku setup' makes that of the user 'piku'"))
            }
            Err(err) => Err(UserError::new(format!("cannot read the root '{at}': {err}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let check = |name: &str| PikuRoot::absolute(Some(dir.path().join(name))).unwrap().check_exists();
        assert!(check("").is_ok());
        assert!(check("typo").unwrap_err().to_string().ends_with("/typo' does not exist"));
        assert!(check("file").unwrap_err().to_string().ends_with("/file' is not a directory"));
        assert!(check("file/below").unwrap_err().to_string().starts_with("cannot read the root"));
    }
}
