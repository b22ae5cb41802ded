//! The files of changes that are under way, by which a change that is killed is finished. They are below the root and not
//! in the app's folder, which a change may create.

#![expect(clippy::disallowed_methods, reason = "files that only piku writes")]

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use piku_files::atomic_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::name::AppName;
use crate::paths::PikuRoot;

/// Time for which a change that is killed waits for machines that are away.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// Returns the time since a change began; zero if the clock was set back.
#[must_use]
pub fn age(began: Timestamp) -> SignedDuration {
    Timestamp::now().duration_since(began).max(SignedDuration::ZERO)
}

/// Returns true if a change that began then has waited for its machines for so long that it is given up.
#[must_use]
pub fn is_expired(began: Timestamp) -> bool {
    age(began) > LONGEST
}

/// A record of what is left of a change of an app, in a file of its own.
pub trait ChangeRecord: Serialize + DeserializeOwned {
    /// Returns the path of the file.
    fn path(root: &PikuRoot, app: &AppName) -> PathBuf;

    /// Returns true if nothing is left of the change.
    fn is_done(&self) -> bool {
        false
    }

    /// Returns true if a change of the app has begun and not ended.
    #[must_use]
    fn is_there(root: &PikuRoot, app: &AppName) -> bool {
        Self::path(root, app).exists()
    }

    /// Reads the record; `None` if no change has begun.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    fn read(root: &PikuRoot, app: &AppName) -> io::Result<Option<Self>> {
        match fs::read(Self::path(root, app)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Writes what is left of the change, or removes the file if that is nothing.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    fn write(&self, root: &PikuRoot, app: &AppName) -> io::Result<()> {
        if self.is_done() {
            return Self::end(root, app);
        }
        let path = Self::path(root, app);
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            atomic_file::sync_parent(folder)?;
        }
        atomic_file::write(&path, &serde_json::to_vec(self)?, 0o600)
    }

    /// Removes the file, if there is one.
    ///
    /// # Errors
    /// Fails if the file cannot be removed.
    fn end(root: &PikuRoot, app: &AppName) -> io::Result<()> {
        let path = Self::path(root, app);
        match fs::remove_file(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| atomic_file::sync_parent(&path)),
        }
    }
}
