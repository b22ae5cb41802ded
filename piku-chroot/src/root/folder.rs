//! A folder of the new root while it is being made. Names are single parts of a path: no link of anybody is ever followed.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::errors::quoted;

/// An opened one.
pub(crate) struct OpenedFolder(OwnedFd);

impl OpenedFolder {
    /// The root of a mount that is our own.
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    /// A folder in it, made where it is not there.
    pub(crate) fn folder(&self, name: &Path) -> Result<Self> {
        self.make_folder(name)?;
        let fd = open(self.0.as_fd(), name).with_context(|| format!("cannot open {}", quoted(name)))?;
        Ok(Self(fd))
    }

    /// The same, without opening it.
    pub(crate) fn make_folder(&self, name: &Path) -> Result<()> {
        made(name, mkdirat(&self.0, name, Mode::from_raw_mode(0o755)))
    }

    /// A folder below it, made with all its parents.
    pub(crate) fn folders(&self, path: &Path) -> Result<Self> {
        let mut folder = Self(self.0.try_clone().context("cannot open a folder again")?);
        for part in relative(path) {
            folder = folder.folder(Path::new(part))?;
        }
        Ok(folder)
    }

    /// A file in it that holds these bytes.
    pub(crate) fn file(&self, name: &Path, bytes: &[u8]) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::from_raw_mode(0o644)).map_err(io::Error::from);
        let write = file.and_then(|file| std::fs::File::from(file).write_all(bytes));
        write.with_context(|| format!("cannot make {}", quoted(name)))
    }

    /// An empty file, to be mounted on, where nothing is there yet.
    pub(crate) fn make_file(&self, name: &Path) -> Result<()> {
        made(name, mknodat(&self.0, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0))
    }

    /// A symbolic link in it.
    pub(crate) fn link(&self, name: &Path, target: &Path) -> Result<()> {
        let linked = symlinkat(target, &self.0, name).map_err(io::Error::from);
        linked.with_context(|| format!("cannot make {}", quoted(name)))
    }

    /// Mounts what is detached on something in it.
    pub(crate) fn mount(&self, name: &Path, mount: impl AsFd) -> Result<()> {
        move_mount(mount, c"", &self.0, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(io::Error::from)
            .with_context(|| format!("cannot mount on {}", quoted(name)))
    }

    /// What is below it at this path, whosever it may be, to be mounted on.
    pub(crate) fn find(&self, path: &Path) -> Result<OwnedFd> {
        let found = open(self.0.as_fd(), path.strip_prefix("/").unwrap_or(path));
        let errno = found.as_ref().err().and_then(io::Error::raw_os_error);
        found.with_context(|| match errno {
            Some(nix::libc::ELOOP) => format!("there is a symbolic link on the way to {}", quoted(path)),
            Some(nix::libc::ENOENT) => format!("the tree around it has no {}", quoted(path)),
            _ => format!("cannot open {}", quoted(path)),
        })
    }
}

impl AsFd for OpenedFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is there already is as good as made.
fn made(name: &Path, result: Result<(), Errno>) -> Result<()> {
    match result {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(err) => Err(io::Error::from(err)).with_context(|| format!("cannot make {}", quoted(name))),
    }
}

/// No link of anybody is followed, and nothing outside is reached.
fn open(from: BorrowedFd, path: &Path) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(from, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// The parts of a path without the root before them.
fn relative(path: &Path) -> impl Iterator<Item = &std::ffi::OsStr> {
    path.strip_prefix("/").unwrap_or(path).iter()
}
