//! Walks through a tree by directory descriptors.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::tree::directory::{self, FolderEntries};
use crate::tree::error::TreeError;
use crate::tree::file_stat::{FileKind, FileStat};
use crate::tree::handle::TreeHandle;
use crate::tree::read::TreeFile;

/// Maximum depth of a tree that can be walked or copied: each level takes a descriptor, and the kernel
/// accepts hardly longer paths. A deeper tree can still be removed.
pub(crate) const MAX_DEPTH: usize = 256;

/// An entry that a walk visits.
#[derive(Debug)]
pub struct TreeEntry<'a> {
    tree: &'a TreeHandle,
    folder: BorrowedFd<'a>,
    path: &'a Path,
    name: &'a OsStr,
    stat: FileStat,
}

/// Next step of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkStep {
    /// Enter this entry, if it is a directory.
    Into,
    /// Continue with the next entry.
    Over,
    /// End the walk.
    Stop,
}

impl<'a> TreeEntry<'a> {
    pub(crate) fn new(
        tree: &'a TreeHandle,
        folder: BorrowedFd<'a>,
        path: &'a Path,
        name: &'a OsStr,
        stat: FileStat,
    ) -> Self {
        Self { tree, folder, path, name, stat }
    }

    /// Returns the path relative to the tree.
    #[must_use]
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// Returns the last name of the path.
    #[must_use]
    pub fn name(&self) -> &'a OsStr {
        self.name
    }

    /// Returns the metadata when the directory was read.
    #[must_use]
    pub fn stat(&self) -> &FileStat {
        &self.stat
    }

    /// Opens the regular file for reading.
    ///
    /// # Errors
    /// Fails if it is not a regular file or no longer exists.
    pub fn open_file(&self) -> Result<TreeFile, TreeError> {
        let (file, stat) =
            directory::open_file(self.folder, self.name).map_err(|err| self.error("read", err))?;
        Ok(TreeFile { file, stat })
    }

    /// Reads the target of the symlink.
    ///
    /// # Errors
    /// Fails if it is not a symlink or no longer exists.
    pub fn read_link(&self) -> Result<PathBuf, TreeError> {
        directory::read_link(self.folder, self.name).map(PathBuf::from).map_err(|err| self.error("read", err))
    }

    /// Sets the mode. For a directory, this happens before the walk enters it.
    ///
    /// # Errors
    /// Fails if it is a symlink, no longer exists, or belongs to another user.
    pub fn set_mode(&self, mode: u32) -> Result<(), TreeError> {
        directory::set_mode(self.folder, self.name, mode & 0o777)
            .map_err(|err| self.error("set the mode of", err))
    }

    /// Replaces the entry atomically by a hard link to an open file of any tree.
    ///
    /// # Errors
    /// Fails if the kernel cannot link the file (`CrossesDevices`, `TooManyLinks`). The entry stays then.
    pub fn replace_by_link(&self, file: &TreeFile) -> Result<(), TreeError> {
        let aside = directory::temporary_name();
        directory::link_file(file.file.as_fd(), self.folder, &aside)
            .and_then(|()| {
                directory::rename(self.folder, &aside, self.folder, self.name).inspect_err(|_| {
                    let _ = directory::unlink(self.folder, &aside);
                })
            })
            .map_err(|err| self.error("link", err))
    }

    /// Returns the directory that contains the entry.
    pub(crate) fn folder(&self) -> BorrowedFd<'a> {
        self.folder
    }

    pub(crate) fn error(&self, what: &'static str, cause: io::Error) -> TreeError {
        self.tree.error(what, self.path, cause)
    }
}

impl TreeHandle {
    /// Calls `visit` for every entry below the top, a directory before its content, otherwise in no order.
    /// No symlink is followed. Entries that disappear or are replaced during the walk are skipped.
    ///
    /// # Errors
    /// Returns the errors of `visit`. Fails if a directory cannot be read or directories are nested more
    /// than 256 deep.
    pub fn walk<E: From<TreeError>>(
        &self,
        mut visit: impl FnMut(&TreeEntry<'_>) -> Result<WalkStep, E>,
    ) -> Result<(), E> {
        let mut path = PathBuf::new();
        let top = self.read_folder(&path).map_err(|err| self.error("read", &path, err))?;
        self.walk_folder(top, &mut path, 0, &mut visit).map(drop)
    }

    /// Calls `visit` for the entry at `path`, where a symlink counts as its target, and for everything below
    /// it: sorted by name, a directory before its content. No other symlink is followed.
    ///
    /// # Errors
    /// Returns the errors of `visit`. Fails if an entry disappears during the walk.
    pub fn walk_sorted<E: From<TreeError>>(
        &self,
        path: &Path,
        mut visit: impl FnMut(&Path, &FileStat) -> Result<(), E>,
    ) -> Result<(), E> {
        let stat = self.metadata(path)?;
        self.walk_sorted_below(path, &stat, &mut visit)
    }

    fn walk_sorted_below<E: From<TreeError>>(
        &self,
        path: &Path,
        stat: &FileStat,
        visit: &mut dyn FnMut(&Path, &FileStat) -> Result<(), E>,
    ) -> Result<(), E> {
        visit(path, stat)?;
        if stat.is_dir() {
            for entry in self.read_dir(path)? {
                let below = path.join(entry.name);
                self.walk_sorted_below(&below, &self.symlink_metadata(&below)?, visit)?;
            }
        }
        Ok(())
    }

    /// Visits the entries of a directory. Returns false if the walk has ended.
    fn walk_folder<E: From<TreeError>>(
        &self,
        folder: OwnedFd,
        path: &mut PathBuf,
        depth: usize,
        visit: &mut dyn FnMut(&TreeEntry<'_>) -> Result<WalkStep, E>,
    ) -> Result<bool, E> {
        let cannot = |path: &Path, err: io::Error| self.error("read", path, err);
        let mut entries = FolderEntries::new(folder).map_err(|err| cannot(path, err))?;
        while let Some((name, _)) = entries.next().map_err(|err| cannot(path, err))? {
            let here = entries.fd().map_err(|err| cannot(path, err))?;
            let stat = match directory::stat(here, &name) {
                Ok(stat) => stat,
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(self.error("look at", &path.join(name), err).into()),
            };
            path.push(&name);
            let step = visit(&TreeEntry::new(self, here, path, &name, stat))?;
            let goes_on = match step {
                WalkStep::Stop => false,
                WalkStep::Into if stat.kind == FileKind::Folder => {
                    if depth >= MAX_DEPTH {
                        return Err(cannot(path, too_deep()).into());
                    }
                    match directory::open_folder(here, &name) {
                        Ok(below) => self.walk_folder(below, path, depth + 1, visit)?,
                        Err(err) if is_replaced(&err) => true,
                        Err(err) => return Err(cannot(path, err).into()),
                    }
                }
                _ => true,
            };
            path.pop();
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns true if the error means that a directory has disappeared or has become another type.
pub(crate) fn is_replaced(err: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP]
        .into_iter()
        .any(|errno| err.raw_os_error() == Some(errno.raw_os_error()))
}

pub(crate) fn too_deep() -> io::Error {
    io::Error::other(format!("directories are nested more than {MAX_DEPTH} deep"))
}
