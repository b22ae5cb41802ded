//! Operations that change entries of a tree. None of them follows a symlink in the place of the entry.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::io::Errno;

use crate::tree::directory;
use crate::tree::error::TreeError;
use crate::tree::handle::{TreeHandle, is_top};
use crate::tree::read::TreeFile;

impl TreeHandle {
    /// Replaces the entry `path` by a file with this content and mode. The file is written under a
    /// temporary name and renamed, so that a reader sees the old or the new one, complete. A symlink is
    /// replaced; a directory is an error.
    ///
    /// # Errors
    /// Fails if the path leads out or the file cannot be written. No temporary file is left then.
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<(), TreeError> {
        let path = path.as_ref();
        let write = |mut file: &File| file.write_all(content.as_ref());
        self.replace_file(path, mode, write).map_err(|err| self.error("write", path, err))
    }

    /// Creates the file `path` and opens it for writing.
    ///
    /// # Errors
    /// Fails if an entry exists, even a dangling symlink, or if the path leads out.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> Result<File, TreeError> {
        let path = path.as_ref();
        self.with_parent(path, |parent, name| directory::create_file(parent, name, mode))
            .map_err(|err| self.error("write", path, err))
    }

    /// Creates the directory `path`.
    ///
    /// # Errors
    /// Fails if an entry exists or the path leads out.
    pub fn create_dir(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.with_parent(path, |parent, name| directory::create_directory(parent, name, 0o777))
            .map_err(|err| self.error("make", path, err))
    }

    /// Creates the directory `path` and its missing parents. A symlink to a directory of the tree counts
    /// as one.
    ///
    /// # Errors
    /// Fails if another entry exists or the path leads out.
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        if is_top(path) {
            return Ok(());
        }
        self.dir().create_dir_all(path).map_err(|err| self.error("make", path, err))
    }

    /// Creates the symlink `path`. Its target is not checked.
    ///
    /// # Errors
    /// Fails if an entry exists or the path leads out.
    pub fn symlink(&self, target: impl AsRef<OsStr>, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.with_parent(path, |parent, name| directory::symlink(target.as_ref(), parent, name))
            .map_err(|err| self.error("link", path, err))
    }

    /// Renames the entry `from` to the entry `new` of the tree `to`. An existing entry is replaced as by
    /// rename(2).
    ///
    /// # Errors
    /// Fails if `from` does not exist, a path leads out, or the trees are on different file systems
    /// (`CrossesDevices`).
    pub fn rename(&self, from: impl AsRef<Path>, to: &Self, new: impl AsRef<Path>) -> Result<(), TreeError> {
        let (from, new) = (from.as_ref(), new.as_ref());
        self.with_parent(from, |parent, name| {
            to.with_parent(new, |new_parent, new_name| directory::rename(parent, name, new_parent, new_name))
        })
        .map_err(|err| self.error("rename", from, err))
    }

    /// Creates the hard link `path` to an open file of any tree. The link is to the file that was opened,
    /// even if its old name now leads to another one.
    ///
    /// # Errors
    /// Fails if an entry exists, the path leads out, or the kernel cannot link the file (`CrossesDevices`,
    /// `TooManyLinks`).
    pub fn link_file(&self, file: &TreeFile, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.with_parent(path, |parent, name| directory::link_file(file.file.as_fd(), parent, name))
            .map_err(|err| self.error("link", path, err))
    }

    /// Replaces the entry `path` atomically by a hard link to an open file.
    ///
    /// # Errors
    /// As [`TreeHandle::link_file`]. The entry stays then.
    pub fn replace_by_link(&self, path: impl AsRef<Path>, file: &TreeFile) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.with_parent(path, |parent, name| {
            // A rename between two names of one file does nothing and leaves both.
            if directory::stat(parent, name).is_ok_and(|there| there.is_same(&file.stat)) {
                return Ok(());
            }
            let aside = directory::temporary_name();
            directory::link_file(file.file.as_fd(), parent, &aside)?;
            rename_or_remove(parent, &aside, name)
        })
        .map_err(|err| self.error("link", path, err))
    }

    /// Removes the entry `path`, which is not a directory.
    ///
    /// # Errors
    /// Fails if it does not exist, is a directory, or the path leads out.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.with_parent(path, |parent, name| Ok(directory::unlink(parent, name)?))
            .map_err(|err| self.error("remove", path, err))
    }

    /// Removes the empty directory `path`.
    ///
    /// # Errors
    /// Fails if it is not empty, does not exist, or the path leads out.
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.with_parent(path, |parent, name| Ok(directory::remove_directory(parent, name)?))
            .map_err(|err| self.error("remove", path, err))
    }

    /// Sets the mode of the entry `path`, which need not be readable. Set-uid and set-gid are never set.
    ///
    /// # Errors
    /// Fails if it is a symlink, does not exist, or the path leads out.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), TreeError> {
        let path = path.as_ref();
        let set = || {
            if is_top(path) {
                return directory::set_mode_of(self.as_fd(), mode & 0o777);
            }
            self.with_parent(path, |parent, name| directory::set_mode(parent, name, mode & 0o777))
        };
        set().map_err(|err| self.error("set the mode of", path, err))
    }

    /// Sets the modification time of the entry `path`.
    ///
    /// # Errors
    /// Fails if it does not exist or the path leads out.
    pub fn set_modified(&self, path: impl AsRef<Path>, time: SystemTime) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.with_parent(path, |parent, name| directory::set_modified(parent, name, time))
            .map_err(|err| self.error("set the time of", path, err))
    }

    /// Calls `act` with the parent directory and the last name of `path`.
    pub(crate) fn with_parent<T>(
        &self,
        path: &Path,
        act: impl FnOnce(std::os::fd::BorrowedFd<'_>, &OsStr) -> io::Result<T>,
    ) -> io::Result<T> {
        let (parent, name) = self.parent(path)?;
        act(parent.as_fd(), name)
    }

    /// Creates a temporary file, writes it with `content` and renames it to `path`.
    pub(crate) fn replace_file(
        &self,
        path: &Path,
        mode: u32,
        content: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.with_parent(path, |parent, name| {
            let aside = directory::temporary_name();
            let file = directory::create_file(parent, &aside, 0o600)?;
            let filled = content(&file).and_then(|()| directory::set_mode_of(file.as_fd(), mode & 0o777));
            if let Err(err) = filled {
                // The first error matters.
                let _ = directory::unlink(parent, &aside);
                return Err(err);
            }
            rename_or_remove(parent, &aside, name)
        })
    }
}

/// Renames a temporary entry to its final name, or removes it.
fn rename_or_remove(parent: impl AsFd, aside: &OsStr, name: &OsStr) -> io::Result<()> {
    let parent = parent.as_fd();
    directory::rename(parent, aside, parent, name).inspect_err(|_| {
        let _: Result<(), Errno> = directory::unlink(parent, aside);
    })
}
