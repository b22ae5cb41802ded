//! Removing whatever there is, with whatever modes, however deep.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::tree::directory::{self, FolderEntries};
use crate::tree::error::{TreeError, escape};
use crate::tree::file_stat::FileKind;
use crate::tree::handle::{TreeHandle, is_top};
use crate::tree::walk::{DEEPEST, is_swapped};

/// The largest number of times that a folder is emptied if somebody fills it again meanwhile, or if it gets what was nested
/// too deep in it.
const ROUNDS: usize = 4096;

impl TreeHandle {
    /// Removes the entry `path` itself, a folder with all that is in it; of the tree itself all that is in it. Nothing there is no
    /// error. Folders that their steps have closed are opened first.
    ///
    /// # Errors
    /// When something stays that this process may not remove, or somebody goes on filling the folder.
    pub fn remove_all(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        let remove = || {
            if !is_top(path) {
                return self.at(path, |parent, name| entry(parent, name, None, None));
            }
            let opened = match self.read_folder(path) {
                Err(err) if is_denied(&err) => {
                    directory::set_mode_of(self.as_fd(), 0o700)?;
                    self.read_folder(path)
                }
                opened => opened,
            };
            empty(&mut FolderEntries::new(opened?)?, None, 0)
        };
        match remove() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(|err| self.error("remove", path, err)),
        }
    }
}

/// Removes what is at `path`, as [`TreeHandle::remove_all`]. The path is piku's own up to its last name: links on the way to it are
/// followed, one in its place is removed itself.
///
/// # Errors
/// When something stays that this process may not remove.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let (parent, Some(name)) = (path.parent(), path.file_name()) else { return Err(escape()) };
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match TreeHandle::open_following(parent) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        parent => Ok(parent?.remove_all(name)?),
    }
}

/// The folder that is removed as a whole, and how deep below it something is.
type Top<'a> = Option<(BorrowedFd<'a>, usize)>;

/// Removes one entry of a folder, of which this is known.
fn entry(parent: BorrowedFd<'_>, name: &OsStr, kind: Option<FileKind>, top: Top<'_>) -> io::Result<()> {
    if kind != Some(FileKind::Folder) {
        match directory::unlink(parent, name) {
            // It is a folder; POSIX says the second, Linux the first.
            Err(Errno::ISDIR | Errno::PERM) => {}
            done => return Ok(done?),
        }
    }
    let depth = match top {
        // Each level costs a descriptor: what is nested too deep is moved up, and met again there.
        Some((top, depth)) if depth >= DEEPEST => {
            directory::set_mode(parent, name, 0o700)?;
            return directory::rename(parent, name, top, &directory::aside());
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
        // It was swapped just now for what is no folder.
        Err(err) if is_swapped(&err) => return Ok(directory::unlink(parent, name)?),
        Err(err) => return Err(err),
    };
    for _ in 0..ROUNDS {
        empty(&mut entries, top, depth)?;
        match directory::remove_folder(parent, name) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => entries.rewind(),
            done => return Ok(done?),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

/// Removes what is in a folder, until nothing is found in it.
fn empty(entries: &mut FolderEntries, top: Top<'_>, depth: usize) -> io::Result<()> {
    let mut is_opened = false;
    for _ in 0..ROUNDS {
        let mut found = false;
        while let Some((name, kind)) = entries.next()? {
            found = true;
            let here = entries.fd()?;
            let top = Some((top.map_or(here, |(top, _)| top), depth + 1));
            let mut removed = entry(here, &name, kind, top);
            if !is_opened && removed.as_ref().is_err_and(is_denied) {
                is_opened = true;
                directory::set_mode_of(here, 0o700)?;
                removed = entry(here, &name, kind, top);
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

/// Returns whether the permission bits stand in the way.
fn is_denied(err: &io::Error) -> bool {
    err.raw_os_error() == Some(Errno::ACCESS.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn whatever_it_is() {
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
