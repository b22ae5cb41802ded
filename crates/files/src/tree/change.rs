//! Changing entries of a tree. Each of these is about the entry itself: what a link in its place points to stays as it is.

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
    /// Replaces what is at `path` by a file with this content and mode. The file is written aside and renamed: whoever reads sees
    /// the old one or the new one, whole. A link is replaced, a folder is an error.
    ///
    /// # Errors
    /// When the way to it leads out, or it cannot be written; nothing is left beside it then.
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<(), TreeError> {
        let path = path.as_ref();
        let write = |mut file: &File| file.write_all(content.as_ref());
        self.replace(path, mode, write).map_err(|err| self.error("write", path, err))
    }

    /// Makes the file `path`, which must not be there, not even as a link, and opens it for writing.
    ///
    /// # Errors
    /// When something is there, or the way to it leads out.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> Result<File, TreeError> {
        let path = path.as_ref();
        self.at(path, |parent, name| directory::create(parent, name, mode))
            .map_err(|err| self.error("write", path, err))
    }

    /// Makes the folder `path`, which must not be there.
    ///
    /// # Errors
    /// When something is there, or the way to it leads out.
    pub fn create_dir(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.at(path, |parent, name| directory::make(parent, name, 0o777))
            .map_err(|err| self.error("make", path, err))
    }

    /// Makes the folder `path` and those above it, where they are not there. A link to a folder of the tree is one.
    ///
    /// # Errors
    /// When something else is there, or the way leads out.
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        if is_top(path) {
            return Ok(());
        }
        self.dir().create_dir_all(path).map_err(|err| self.error("make", path, err))
    }

    /// Makes the link `path`, which must not be there. Its target is not looked at.
    ///
    /// # Errors
    /// When something is there, or the way to it leads out.
    pub fn symlink(&self, target: impl AsRef<OsStr>, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.at(path, |parent, name| directory::symlink(target.as_ref(), parent, name))
            .map_err(|err| self.error("link", path, err))
    }

    /// Renames the entry `from` to the entry `new` of `to`, which may be this tree or another one. What is there is replaced as
    /// rename(2) does.
    ///
    /// # Errors
    /// When nothing is there, one of the ways leads out, or the two are on different file systems (`CrossesDevices`).
    pub fn rename(&self, from: impl AsRef<Path>, to: &Self, new: impl AsRef<Path>) -> Result<(), TreeError> {
        let (from, new) = (from.as_ref(), new.as_ref());
        self.at(from, |parent, name| {
            to.at(new, |new_parent, new_name| directory::rename(parent, name, new_parent, new_name))
        })
        .map_err(|err| self.error("rename", from, err))
    }

    /// Gives an open file of some tree the new name `path` in this one; nothing must be there. It is the file that was opened, and
    /// was found to be regular, that is linked, whatever its old name leads to by now.
    ///
    /// # Errors
    /// When something is there, the way to it leads out, or the file cannot be linked there (`CrossesDevices`, `TooManyLinks`).
    pub fn link_file(&self, file: &TreeFile, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.at(path, |parent, name| directory::link(file.file.as_fd(), parent, name))
            .map_err(|err| self.error("link", path, err))
    }

    /// The same in the place of what is there, at once.
    ///
    /// # Errors
    /// As [`TreeHandle::link_file`]; what is there stays then.
    pub fn replace_by_link(&self, path: impl AsRef<Path>, file: &TreeFile) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.at(path, |parent, name| {
            // A rename between two names of one file does nothing and leaves both.
            if directory::stat(parent, name).is_ok_and(|there| there.is_same(&file.stat)) {
                return Ok(());
            }
            let aside = directory::aside();
            directory::link(file.file.as_fd(), parent, &aside)?;
            settle(parent, &aside, name)
        })
        .map_err(|err| self.error("link", path, err))
    }

    /// Removes the entry `path`, which is no folder; a link itself.
    ///
    /// # Errors
    /// When nothing is there, it is a folder, or the way to it leads out.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.at(path, |parent, name| Ok(directory::unlink(parent, name)?))
            .map_err(|err| self.error("remove", path, err))
    }

    /// Removes the empty folder `path`.
    ///
    /// # Errors
    /// When it is not empty, not there, or the way to it leads out.
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.at(path, |parent, name| Ok(directory::remove_folder(parent, name)?))
            .map_err(|err| self.error("remove", path, err))
    }

    /// Sets the mode of the entry `path` itself, whatever mode it has now. Set-uid and set-gid are never set.
    ///
    /// # Errors
    /// When it is a link, not there, or the way to it leads out.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), TreeError> {
        let path = path.as_ref();
        let set = || {
            if is_top(path) {
                return directory::set_mode_of(self.as_fd(), mode & 0o777);
            }
            self.at(path, |parent, name| directory::set_mode(parent, name, mode & 0o777))
        };
        set().map_err(|err| self.error("set the mode of", path, err))
    }

    /// Sets when the content of the entry `path` itself was changed.
    ///
    /// # Errors
    /// When it is not there, or the way to it leads out.
    pub fn set_modified(&self, path: impl AsRef<Path>, time: SystemTime) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.at(path, |parent, name| directory::set_modified(parent, name, time))
            .map_err(|err| self.error("set the time of", path, err))
    }

    /// Does something with the last name of `path` in its folder.
    pub(crate) fn at<T>(
        &self,
        path: &Path,
        act: impl FnOnce(std::os::fd::BorrowedFd<'_>, &OsStr) -> io::Result<T>,
    ) -> io::Result<T> {
        let (parent, name) = self.parent(path)?;
        act(parent.as_fd(), name)
    }

    /// Makes a file aside, lets `content` write it, and puts it into the place of `path`.
    pub(crate) fn replace(
        &self,
        path: &Path,
        mode: u32,
        content: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.at(path, |parent, name| {
            let aside = directory::aside();
            let file = directory::create(parent, &aside, 0o600)?;
            let filled = content(&file).and_then(|()| directory::set_mode_of(file.as_fd(), mode & 0o777));
            if let Err(err) = filled {
                // The first error is the one to tell.
                let _ = directory::unlink(parent, &aside);
                return Err(err);
            }
            settle(parent, &aside, name)
        })
    }
}

/// Puts what was made aside into its place, or removes it.
fn settle(parent: impl AsFd, aside: &OsStr, name: &OsStr) -> io::Result<()> {
    let parent = parent.as_fd();
    directory::rename(parent, aside, parent, name).inspect_err(|_| {
        let _: Result<(), Errno> = directory::unlink(parent, aside);
    })
}
