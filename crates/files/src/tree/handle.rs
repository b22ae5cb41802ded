//! The handle, and how a path is resolved beneath it.

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
use crate::tree::error::{TreeError, escape};
use crate::tree::file_stat::FileStat;

/// A tree of files, held by a descriptor of its top folder. See the [crate] for what it promises.
///
/// Paths that its functions take are relative to the tree; the empty path and `.` are the tree itself. A clone is the same tree.
#[derive(Debug, Clone)]
pub struct TreeHandle {
    dir: Arc<Dir>,
    path: PathBuf,
}

/// The folder that a path's last name lies in.
pub(crate) enum ParentFolder<'a> {
    /// The tree's top.
    Top(&'a Dir),
    /// Some folder below it.
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
    /// Opens the tree in the folder `path`, which is piku's own up to its last name: links on the way are followed, a link in the
    /// tree's own place is not.
    ///
    /// # Errors
    /// When it is not there or no folder.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        Self::open_with(path, OFlags::NOFOLLOW)
    }

    /// Opens the tree in a folder that an operator has named, or that a link of piku's own leads to (`current`).
    ///
    /// # Errors
    /// When it is not there or no folder.
    pub fn open_following(path: &Path) -> Result<Self, TreeError> {
        Self::open_with(path, OFlags::empty())
    }

    /// Makes the folder `path`, which must not be there, and opens it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self, TreeError> {
        fs::mkdir(path, Mode::from_raw_mode(0o777))
            .map_err(|errno| TreeError::new("make", path, Path::new(""), errno.into()))?;
        Self::open(path)
    }

    fn open_with(path: &Path, flags: OFlags) -> Result<Self, TreeError> {
        let flags = flags | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let opened = match fs::open(path, flags | OFlags::RDONLY, Mode::empty()) {
            // Its own steps have closed it; what may be done with it then is set its mode.
            Err(Errno::ACCESS) => fs::open(path, flags | OFlags::PATH, Mode::empty()),
            opened => opened,
        };
        let fd = opened.map_err(|errno| {
            // So says the kernel of a link in the place of a folder.
            let cause = match errno {
                Errno::LOOP | Errno::NOTDIR => {
                    io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder")
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

    /// Opens the folder `path` of the tree as a tree of its own: no path and no link leads out of that one. A link in its place is
    /// not followed.
    ///
    /// # Errors
    /// When it is not there, no folder, or not in the tree.
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

    /// Returns the path that the tree was opened by: for messages, and for a mount of the whole tree while nobody can have
    /// replaced it. A path *below* it must not be handed to anything that resolves it anew.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the kernel where the tree lies now: the path to hand to a program that cannot be given the descriptor. It has no
    /// links in it; it is true as long as nobody can rename a folder on the way.
    ///
    /// # Errors
    /// When the tree was removed, or `/proc` is not there.
    pub fn current_path(&self) -> Result<PathBuf, TreeError> {
        use std::os::fd::AsRawFd;
        use std::os::unix::ffi::OsStringExt;
        let read = || {
            let name = format!("/proc/self/fd/{}", self.dir.as_fd().as_raw_fd());
            let path = fs::readlink(name, Vec::new())?.into_bytes();
            if FileStat::of(&self.dir)?.links == 0 {
                return Err(Errno::NOENT.into());
            }
            Ok(PathBuf::from(std::ffi::OsString::from_vec(path)))
        };
        read().map_err(|err: io::Error| self.error("find", Path::new(""), err))
    }

    /// Returns whether both handles are of one folder.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub fn is_same(&self, other: &Self) -> Result<bool, TreeError> {
        Ok(self.metadata("")?.is_same(&other.metadata("")?))
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Opens the folder that the last name of `path` lies in. Links on the way are followed as long as they stay in the tree.
    pub(crate) fn parent<'a, 'p>(&'a self, path: &'p Path) -> io::Result<(ParentFolder<'a>, &'p OsStr)> {
        let mut parts = path.components();
        let Some(Component::Normal(name)) = parts.next_back() else { return Err(escape()) };
        directory::check_name(name)?;
        let above = parts.as_path();
        if is_top(above) {
            return Ok((ParentFolder::Top(&self.dir), name));
        }
        Ok((ParentFolder::Below(self.open_dir(above)?), name))
    }

    /// Opens a folder by a path whose links stay in the tree.
    pub(crate) fn open_dir(&self, path: &Path) -> io::Result<Dir> {
        self.dir.open_dir(path).map_err(normal)
    }

    /// Opens the folder `path` for reading its entries; links that stay in the tree are followed.
    pub(crate) fn read_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        // A descriptor of its own: the place in the list of entries belongs to the descriptor. A folder below the top is opened
        // as a mere place (`O_PATH`) first, whose entries cannot be read.
        let flags = OFlags::CLOEXEC | OFlags::RDONLY | OFlags::DIRECTORY;
        if is_top(path) {
            return Ok(fs::openat(&self.dir, c".", flags, Mode::empty())?);
        }
        Ok(fs::openat(self.open_dir(path)?, c".", flags, Mode::empty())?)
    }

    pub(crate) fn error(&self, what: &'static str, path: &Path, cause: io::Error) -> TreeError {
        TreeError::new(what, &self.path, path, normal(cause))
    }
}

impl AsFd for TreeHandle {
    /// The descriptor of the top folder: for a lock, a sync, or a call of the kernel that takes a folder and one name.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Returns whether the path is the tree itself.
pub(crate) fn is_top(path: &Path) -> bool {
    path.components().all(|part| part == Component::CurDir)
}

/// The resolver's own error of a path that leads out is one of `cap-std`; ours has the same kind and other words.
fn normal(err: io::Error) -> io::Error {
    if err.kind() == io::ErrorKind::PermissionDenied && err.raw_os_error().is_none() { escape() } else { err }
}
