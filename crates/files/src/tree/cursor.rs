//! Looks up the entries of a second tree during a walk through the first one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use crate::tree::directory;
use crate::tree::error::{TreeError, escape_error};
use crate::tree::file_stat::FileStat;
use crate::tree::handle::TreeHandle;
use crate::tree::read::TreeFile;
use crate::tree::walk::is_replaced;

/// A position in a tree that follows a walk through another one. The directories on the path stay open, so
/// that each is opened once. None of them is a symlink.
#[derive(Debug)]
pub struct FolderCursor<'a> {
    tree: &'a TreeHandle,
    open: Vec<(OsString, OwnedFd)>,
    /// The last directory that was missing.
    missing: Option<PathBuf>,
}

impl<'a> FolderCursor<'a> {
    /// Starts at the top of `tree`.
    #[must_use]
    pub fn new(tree: &'a TreeHandle) -> Self {
        Self { tree, open: Vec::new(), missing: None }
    }

    /// Returns the metadata of the entry `path`; `None` if it or one of its parents does not exist, or a
    /// parent is a symlink.
    ///
    /// # Errors
    /// Fails if the entry cannot be read.
    pub fn symlink_metadata(&mut self, path: &Path) -> Result<Option<FileStat>, TreeError> {
        self.with_entry(path, "look at", |folder, name| directory::stat(folder, name))
    }

    /// Opens the regular file `path`; `None` as for [`FolderCursor::symlink_metadata`].
    ///
    /// # Errors
    /// Fails if it is not a regular file or cannot be opened.
    pub fn open_file(&mut self, path: &Path) -> Result<Option<TreeFile>, TreeError> {
        let open = |folder: BorrowedFd<'_>, name: &OsStr| {
            let (file, stat) = directory::open_file(folder, name)?;
            Ok(TreeFile { file, stat })
        };
        self.with_entry(path, "read", open)
    }

    fn with_entry<T>(
        &mut self,
        path: &Path,
        what: &'static str,
        act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> io::Result<T>,
    ) -> Result<Option<T>, TreeError> {
        let done = match self.open_parent(path) {
            Ok(Some((folder, name))) => act(folder, name).map(Some),
            Ok(None) => Ok(None),
            Err(err) => Err(err),
        };
        match done {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            done => done.map_err(|err| self.tree.error(what, path, err)),
        }
    }

    /// Opens the parent directory of `path`.
    fn open_parent<'p>(&mut self, path: &'p Path) -> io::Result<Option<(BorrowedFd<'_>, &'p OsStr)>> {
        let mut parts = path.components();
        let Some(Component::Normal(name)) = parts.next_back() else { return Err(escape_error()) };
        let folder = parts.as_path();
        if self.missing.as_deref().is_some_and(|missing| folder.starts_with(missing)) {
            return Ok(None);
        }
        let is_open = |(part, (open, _)): &(Component<'_>, &(OsString, OwnedFd))| part.as_os_str() == open;
        let common = folder.components().zip(&self.open).take_while(is_open).count();
        self.open.truncate(common);
        for (at, part) in folder.components().enumerate().skip(common) {
            let Component::Normal(part) = part else { return Err(escape_error()) };
            match directory::open_folder(self.deepest(), part) {
                Ok(fd) => self.open.push((part.to_owned(), fd)),
                Err(err) if is_replaced(&err) => {
                    self.missing = Some(folder.components().take(at + 1).collect());
                    return Ok(None);
                }
                Err(err) => return Err(err),
            }
        }
        Ok(Some((self.deepest(), name)))
    }

    fn deepest(&self) -> BorrowedFd<'_> {
        self.open.last().map_or_else(|| self.tree.as_fd(), |(_, fd)| fd.as_fd())
    }
}
