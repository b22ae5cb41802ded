//! Removes entries of any type, mode and depth.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::tree::directory::{self, FolderEntries};
use crate::tree::error::{TreeError, escape_error};
use crate::tree::file_stat::FileKind;
use crate::tree::handle::{TreeHandle, is_top};
use crate::tree::walk::{MAX_DEPTH, is_replaced};

/// Maximum number of times that a directory is emptied, if a process fills it again or deeply nested
/// directories are moved up to it.
const MAX_ROUNDS: usize = 4096;

impl TreeHandle {
    /// Removes the entry `path`, with everything in it if it is a directory. For the empty path, removes
    /// the content of the tree. A missing entry is not an error. Directories without permissions get them
    /// first.
    ///
    /// # Errors
    /// Fails if this process may not remove an entry, or another process keeps filling the directory.
    pub fn remove_all(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        let remove = || {
            if !is_top(path) {
                return self.with_parent(path, |parent, name| remove_entry(parent, name, None, None));
            }
            let opened = match self.read_folder(path) {
                Err(err) if is_denied(&err) => {
                    directory::set_mode_of(self.as_fd(), 0o700)?;
                    self.read_folder(path)
                }
                opened => opened,
            };
            remove_entries(&mut FolderEntries::new(opened?)?, None, 0)
        };
        match remove() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(|err| self.error("remove", path, err)),
        }
    }
}

/// Removes the entry `path` as [`TreeHandle::remove_all`] does. Its parents belong to piku: symlinks in
/// them are followed, but a symlink in the place of the entry is itself removed.
///
/// # Errors
/// Fails if this process may not remove an entry.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let (parent, Some(name)) = (path.parent(), path.file_name()) else { return Err(escape_error()) };
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match TreeHandle::open_following(parent) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        parent => Ok(parent?.remove_all(name)?),
    }
}

/// The directory whose content is removed, and the depth of an entry below it.
type Top<'a> = Option<(BorrowedFd<'a>, usize)>;

/// Removes an entry of a directory. `kind` is its type, if known.
fn remove_entry(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    kind: Option<FileKind>,
    top: Top<'_>,
) -> io::Result<()> {
    if kind != Some(FileKind::Folder) {
        match directory::unlink(parent, name) {
            // It is a directory: the first is Linux's error, the second POSIX's.
            Err(Errno::ISDIR | Errno::PERM) => {}
            done => return Ok(done?),
        }
    }
    let depth = match top {
        // Each level takes a descriptor: deeper directories are moved up and removed there.
        Some((top, depth)) if depth >= MAX_DEPTH => {
            directory::set_mode(parent, name, 0o700)?;
            return directory::rename(parent, name, top, &directory::temporary_name());
        }
        Some((_, depth)) => depth,
        None => 0,
    };
    let opened = match directory::open_folder(parent, name) {
        Err(err) if is_denied(&err) => {
            directory::set_mode(parent, name, 0o700)?;
            directory::open_folder(parent, name)
        }
        opened => opened,
    };
    let mut entries = match opened {
        Ok(fd) => FolderEntries::new(fd)?,
        // It has just been replaced by another type.
        Err(err) if is_replaced(&err) => return Ok(directory::unlink(parent, name)?),
        Err(err) => return Err(err),
    };
    for _ in 0..MAX_ROUNDS {
        remove_entries(&mut entries, top, depth)?;
        match directory::remove_directory(parent, name) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => entries.rewind(),
            done => return Ok(done?),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

/// Removes the entries of a directory until it is empty.
fn remove_entries(entries: &mut FolderEntries, top: Top<'_>, depth: usize) -> io::Result<()> {
    let mut has_permission = false;
    for _ in 0..MAX_ROUNDS {
        let mut found = false;
        while let Some((name, kind)) = entries.next()? {
            found = true;
            let here = entries.fd()?;
            let top = Some((top.map_or(here, |(top, _)| top), depth + 1));
            let mut removed = remove_entry(here, &name, kind, top);
            if !has_permission && removed.as_ref().is_err_and(is_denied) {
                has_permission = true;
                directory::set_mode_of(here, 0o700)?;
                removed = remove_entry(here, &name, kind, top);
            }
            match removed {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        if !found {
            return Ok(());
        }
        entries.rewind();
    }
    Err(Errno::NOTEMPTY.into())
}

/// Returns true for an error of permission bits.
fn is_denied(err: &io::Error) -> bool {
    err.raw_os_error() == Some(Errno::ACCESS.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn entries_of_any_type_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        fs::create_dir_all(at("folder/below")).unwrap();
        fs::create_dir_all(at("kept/below")).unwrap();
        std::os::unix::fs::symlink("kept", at("link")).unwrap();
        for name in ["file", "folder", "link", "nothing", "nothing/below", "link/below"] {
            remove_all(&at(name)).unwrap();
            assert!(fs::symlink_metadata(at(name)).is_err(), "{name}");
        }
        assert!(at("kept/below").is_dir() && remove_all(Path::new("/")).is_err());
    }
}
