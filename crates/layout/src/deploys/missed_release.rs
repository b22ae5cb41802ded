//! The machines in `deploy_to` of an app that were down at its last deploy, and wait for the release.

#![expect(clippy::disallowed_methods, reason = "a folder that only piku writes")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use piku_files::atomic_file;

use crate::paths::AppDir;

const MACHINES: &str = "machines";

/// The folder `missed` of an app: the releases of the last deploy, and the list of the machines that lack
/// theirs.
#[derive(Debug, Clone)]
pub struct MissedRelease(PathBuf);

impl MissedRelease {
    /// Returns the folder of an app, which need not exist.
    #[must_use]
    pub fn of(app: &AppDir) -> Self {
        Self(app.path().join("missed"))
    }

    /// Returns the folder in which a new one is made, to be renamed to this one.
    #[must_use]
    pub fn unfinished(app: &AppDir) -> Self {
        Self(app.path().join("missed.new"))
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the folder with a release for each kind of machine.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    /// Returns the machines, as `deploy_to` names them; none if the folder is missing.
    #[must_use]
    pub fn machines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join(MACHINES)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Replaces the list of machines.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_machines(&self, machines: &[String]) -> io::Result<()> {
        let text = machines.join("\n");
        atomic_file::write(&self.0.join(MACHINES), text.as_bytes(), 0o600)
    }
}
