//! The same place in another tree, for whoever walks through one and compares it with the other.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use crate::tree::directory;
use crate::tree::error::{TreeError, escape};
use crate::tree::file_stat::FileStat;
use crate::tree::handle::TreeHandle;
use crate::tree::read::TreeFile;
use crate::tree::walk::is_swapped;

/// A place in a tree that follows a walk through another one. The folders on the way to it stay open, so that each is opened once;
/// none of them is a link.
#[derive(Debug)]
pub struct FolderCursor<'a> {
    tree: &'a TreeHandle,
    open: Vec<(OsString, OwnedFd)>,
    /// A folder that is not there.
    missing: Option<PathBuf>,
}

impl<'a> FolderCursor<'a> {
    /// A cursor at the top of `tree`.
    #[must_use]
    pub fn new(tree: &'a TreeHandle) -> Self {
        Self { tree, open: Vec::new(), missing: None }
    }

    /// Looks at the entry `path` itself; `None` when it is not there, or a folder on the way to it is not, or is a link.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn symlink_metadata(&mut self, path: &Path) -> Result<Option<FileStat>, TreeError> {
        self.at(path, "look at", |folder, name| directory::stat(folder, name))
    }

    /// Opens the regular file `path`; `None` as above.
    ///
    /// # Errors
    /// When it is no regular file, or cannot be opened.
    pub fn open_file(&mut self, path: &Path) -> Result<Option<TreeFile>, TreeError> {
        let open = |folder: BorrowedFd<'_>, name: &OsStr| {
            let (file, stat) = directory::open_file(folder, name)?;
            Ok(TreeFile { file, stat })
        };
        self.at(path, "read", open)
    }

    fn at<T>(
        &mut self,
        path: &Path,
        what: &'static str,
        act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> io::Result<T>,
    ) -> Result<Option<T>, TreeError> {
        let done = match self.go(path) {
            Ok(Some((folder, name))) => act(folder, name).map(Some),
            Ok(None) => Ok(None),
            Err(err) => Err(err),
        };
        match done {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            done => done.map_err(|err| self.tree.error(what, path, err)),
        }
    }

    /// Opens the folder that the path's last name lies in.
    fn go<'p>(&mut self, path: &'p Path) -> io::Result<Option<(BorrowedFd<'_>, &'p OsStr)>> {
        let mut parts = path.components();
        let Some(Component::Normal(name)) = parts.next_back() else { return Err(escape()) };
        let folder = parts.as_path();
        if self.missing.as_deref().is_some_and(|missing| folder.starts_with(missing)) {
            return Ok(None);
        }
        let is_open = |(part, (open, _)): &(Component<'_>, &(OsString, OwnedFd))| part.as_os_str() == open;
        let common = folder.components().zip(&self.open).take_while(is_open).count();
        self.open.truncate(common);
        for (at, part) in folder.components().enumerate().skip(common) {
            let Component::Normal(part) = part else { return Err(escape()) };
            match directory::open_folder(self.top(), part) {
                Ok(fd) => self.open.push((part.to_owned(), fd)),
                Err(err) if is_swapped(&err) => {
                    self.missing = Some(folder.components().take(at + 1).collect());
                    return Ok(None);
                }
                Err(err) => return Err(err),
            }
        }
        Ok(Some((self.top(), name)))
    }

    fn top(&self) -> BorrowedFd<'_> {
        self.open.last().map_or_else(|| self.tree.as_fd(), |(_, fd)| fd.as_fd())
    }
}
