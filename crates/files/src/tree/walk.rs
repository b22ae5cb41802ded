//! A walk through a tree, folder by folder, each by its descriptor.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::tree::directory::{self, FolderEntries};
use crate::tree::error::TreeError;
use crate::tree::file_stat::{FileKind, FileStat};
use crate::tree::handle::TreeHandle;
use crate::tree::read::TreeFile;

/// The greatest depth of folders in a tree that is walked or copied: each level costs a descriptor, and a path of as many
/// names is near the longest that the kernel accepts. What is nested deeper can still be removed.
pub(crate) const DEEPEST: usize = 256;

/// An entry that a walk has come to.
#[derive(Debug)]
pub struct TreeEntry<'a> {
    tree: &'a TreeHandle,
    folder: BorrowedFd<'a>,
    path: &'a Path,
    name: &'a OsStr,
    stat: FileStat,
}

/// Where a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkStep {
    /// With what is in this entry, where it is a folder.
    Into,
    /// With the entry after this one.
    Over,
    /// Nowhere.
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

    /// Returns its path, relative to where the walk has begun.
    #[must_use]
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &'a OsStr {
        self.name
    }

    /// Returns what it was when its folder was read.
    #[must_use]
    pub fn stat(&self) -> &FileStat {
        &self.stat
    }

    /// Opens it, where it is a regular file.
    ///
    /// # Errors
    /// When it is none, or is gone.
    pub fn open_file(&self) -> Result<TreeFile, TreeError> {
        let (file, stat) =
            directory::open_file(self.folder, self.name).map_err(|err| self.error("read", err))?;
        Ok(TreeFile { file, stat })
    }

    /// Reads its target, where it is a link.
    ///
    /// # Errors
    /// When it is none, or is gone.
    pub fn read_link(&self) -> Result<PathBuf, TreeError> {
        directory::read_link(self.folder, self.name).map(PathBuf::from).map_err(|err| self.error("read", err))
    }

    /// Sets its mode, where it is no link; of a folder before the walk goes into it.
    ///
    /// # Errors
    /// When it is gone, or not this user's.
    pub fn set_mode(&self, mode: u32) -> Result<(), TreeError> {
        directory::set_mode(self.folder, self.name, mode & 0o777)
            .map_err(|err| self.error("set the mode of", err))
    }

    /// Puts the file, which was opened in some tree, into the place of this one.
    ///
    /// # Errors
    /// When it cannot be linked there (`CrossesDevices`, `TooManyLinks`); this one stays then.
    pub fn replace_by_link(&self, file: &TreeFile) -> Result<(), TreeError> {
        let aside = directory::aside();
        directory::link(file.file.as_fd(), self.folder, &aside)
            .and_then(|()| {
                directory::rename(self.folder, &aside, self.folder, self.name).inspect_err(|_| {
                    let _ = directory::unlink(self.folder, &aside);
                })
            })
            .map_err(|err| self.error("link", err))
    }

    fn error(&self, what: &'static str, cause: io::Error) -> TreeError {
        self.tree.error(what, self.path, cause)
    }
}

impl TreeHandle {
    /// Calls `visit` for all below this tree's top, a folder before what is in it, in no order. No link is followed; what vanishes
    /// or is swapped meanwhile is skipped.
    ///
    /// # Errors
    /// Those of `visit`; and when a folder cannot be read, or folders are nested more than 256 deep.
    pub fn walk<E: From<TreeError>>(
        &self,
        mut visit: impl FnMut(&TreeEntry<'_>) -> Result<WalkStep, E>,
    ) -> Result<(), E> {
        let mut path = PathBuf::new();
        let top = self.read_folder(&path).map_err(|err| self.error("read", &path, err))?;
        self.walk_folder(top, &mut path, 0, &mut visit).map(drop)
    }

    /// Visits all that is in a folder and returns whether the walk goes on.
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
                    if depth >= DEEPEST {
                        return Err(cannot(path, too_deep()).into());
                    }
                    match directory::open_folder(here, &name) {
                        Ok(below) => self.walk_folder(below, path, depth + 1, visit)?,
                        Err(err) if is_swapped(&err) => true,
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

/// Returns whether the error says that what was a folder just now is gone, or is another thing.
pub(crate) fn is_swapped(err: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP]
        .into_iter()
        .any(|errno| err.raw_os_error() == Some(errno.raw_os_error()))
}

pub(crate) fn too_deep() -> io::Error {
    io::Error::other(format!("folders are nested more than {DEEPEST} deep"))
}
