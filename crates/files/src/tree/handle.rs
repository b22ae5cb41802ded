//! The handle and the resolution of paths beneath it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use crate::tree::directory;
use crate::tree::error::{TreeError, escape_error};

/// A tree of files, held by a descriptor of its top directory. See the [crate] for its guarantees.
///
/// All paths are relative to the tree. The empty path and `.` are the tree itself. A clone refers to the
/// same tree.
#[derive(Debug, Clone)]
pub struct TreeHandle {
    dir: Arc<Dir>,
    path: PathBuf,
}

/// Parent directory of a path.
pub(crate) enum ParentFolder<'a> {
    /// Top directory of the tree.
    Top(&'a Dir),
    /// A directory below the top.
    Below(Dir),
}

impl AsFd for ParentFolder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Top(dir) => dir.as_fd(),
            Self::Below(dir) => dir.as_fd(),
        }
    }
}

impl TreeHandle {
    /// Opens the directory `path` as a tree. Its parents belong to piku: symlinks in them are followed,
    /// but `path` itself must not be one.
    ///
    /// # Errors
    /// Fails if it does not exist or is not a directory.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        Self::open_with(path, OFlags::NOFOLLOW)
    }

    /// Opens a directory that the operator has named or that a symlink of piku points to, such as `current`.
    ///
    /// # Errors
    /// Fails if it does not exist or is not a directory.
    pub fn open_following(path: &Path) -> Result<Self, TreeError> {
        Self::open_with(path, OFlags::empty())
    }

    /// Creates the directory `path` and opens it.
    ///
    /// # Errors
    /// Fails if it exists or cannot be created.
    pub fn create(path: &Path) -> Result<Self, TreeError> {
        fs::mkdir(path, Mode::from_raw_mode(0o777))
            .map_err(|errno| TreeError::new("make", path, Path::new(""), errno.into()))?;
        Self::open(path)
    }

    fn open_with(path: &Path, flags: OFlags) -> Result<Self, TreeError> {
        let flags = flags | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let opened = match fs::open(path, flags | OFlags::RDONLY, Mode::empty()) {
            // The app has removed its permissions. The handle can still set the mode.
            Err(Errno::ACCESS) => fs::open(path, flags | OFlags::PATH, Mode::empty()),
            opened => opened,
        };
        let fd = opened.map_err(|errno| {
            // The kernel's errors for a symlink.
            let cause = match errno {
                Errno::LOOP | Errno::NOTDIR => {
                    io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory")
                }
                errno => errno.into(),
            };
            TreeError::new("open", path, Path::new(""), cause)
        })?;
        Ok(Self::new(fd, path.to_owned()))
    }

    pub(crate) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { dir: Arc::new(Dir::from_std_file(File::from(fd))), path }
    }

    /// Opens the directory `path` as a separate tree, which no path leads out of. `path` itself must not
    /// be a symlink.
    ///
    /// # Errors
    /// Fails if it does not exist, is not a directory, or is not in the tree.
    pub fn subtree(&self, path: impl AsRef<Path>) -> Result<Self, TreeError> {
        let path = path.as_ref();
        if is_top(path) {
            return Ok(self.clone());
        }
        let open = || {
            let (parent, name) = self.parent(path)?;
            directory::open_folder(&parent, name)
        };
        open().map(|fd| Self::new(fd, self.path.join(path))).map_err(|err| self.error("open", path, err))
    }

    /// Returns the path by which the tree was opened. Use it for messages, and to mount the tree while no
    /// app can have replaced it. Never pass a path *below* it to code that resolves it again.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if both handles refer to the same directory.
    ///
    /// # Errors
    /// Fails if the metadata of one of them cannot be read.
    pub fn is_same(&self, other: &Self) -> Result<bool, TreeError> {
        Ok(self.metadata("")?.is_same(&other.metadata("")?))
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Splits `path` into its parent directory and its last name. Symlinks in the parent are followed
    /// while they stay in the tree.
    pub(crate) fn parent<'a, 'p>(&'a self, path: &'p Path) -> io::Result<(ParentFolder<'a>, &'p OsStr)> {
        let mut parts = path.components();
        let Some(Component::Normal(name)) = parts.next_back() else { return Err(escape_error()) };
        directory::check_name(name)?;
        let above = parts.as_path();
        if is_top(above) {
            return Ok((ParentFolder::Top(&self.dir), name));
        }
        Ok((ParentFolder::Below(self.open_dir(above)?), name))
    }

    /// Opens a directory. Symlinks are followed while they stay in the tree.
    pub(crate) fn open_dir(&self, path: &Path) -> io::Result<Dir> {
        self.dir.open_dir(path).map_err(replace_escape_error)
    }

    /// Opens the directory `path` to read its entries. Symlinks are followed while they stay in the tree.
    pub(crate) fn read_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        // A new descriptor, because the position in the list of entries belongs to it, and because
        // `open_dir` returns an `O_PATH` descriptor, which cannot be read.
        let flags = OFlags::CLOEXEC | OFlags::RDONLY | OFlags::DIRECTORY;
        if is_top(path) {
            return Ok(fs::openat(&self.dir, c".", flags, Mode::empty())?);
        }
        Ok(fs::openat(self.open_dir(path)?, c".", flags, Mode::empty())?)
    }

    pub(crate) fn error(&self, what: &'static str, path: &Path, cause: io::Error) -> TreeError {
        TreeError::new(what, &self.path, path, replace_escape_error(cause))
    }
}

impl AsFd for TreeHandle {
    /// Returns the descriptor of the top directory, for a lock, a sync, or a system call with a single name.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Returns true for the empty path and `.`.
pub(crate) fn is_top(path: &Path) -> bool {
    path.components().all(|part| part == Component::CurDir)
}

/// Replaces `cap-std`'s error of a path that leads out by ours, which has the same kind.
fn replace_escape_error(err: io::Error) -> io::Error {
    if err.kind() == io::ErrorKind::PermissionDenied && err.raw_os_error().is_none() {
        escape_error()
    } else {
        err
    }
}
