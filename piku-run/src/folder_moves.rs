//! Moves of whole folders, which last when they return.

#![expect(clippy::disallowed_methods, reason = "folders of apps and services, which only piku moves")]

use std::fs;
use std::io;
use std::path::Path;

use piku_files::atomic_file;
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Renames a folder to that of an app, which must not exist, and syncs it.
pub(crate) fn move_app_dir(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that lacks the flag. A folder with content is not replaced by a rename.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(from, to)?,
        moved => moved?,
    }
    atomic_file::sync_parent(to)
}

/// Exchanges two folders in one step, and syncs their names.
///
/// # Errors
/// Fails without a change, also if the file system cannot do that.
pub(crate) fn exchange_dirs(one: &Path, other: &Path) -> io::Result<()> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?;
    atomic_file::sync_parent(other)
}
