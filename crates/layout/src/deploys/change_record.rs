//! The files of changes that are under way. They are below the root and not in the app's folder, which a change may
//! create.

#![expect(clippy::disallowed_methods, reason = "files that only piku writes")]

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use piku_files::atomic_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Returns true if there is a record.
pub(super) fn is_there(path: &Path) -> bool {
    path.exists()
}

/// Reads a record; `None` if there is no file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// Writes a record and its folder.
pub(super) fn write(path: &Path, record: &impl Serialize) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        atomic_file::sync_parent(folder)?;
    }
    atomic_file::write(path, &serde_json::to_vec(record)?, 0o600)
}

/// Removes a record, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| atomic_file::sync_parent(path)),
    }
}
