//! A directory of the new root while that is made. Entries are named by single parts of a path, and symlinks
//! are never followed.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat, openat2, statat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::errors::quoted;

pub(crate) struct OpenedFolder(OwnedFd);

impl OpenedFolder {
    /// Takes the root of a mount that belongs to the jail.
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    /// Opens a directory in it, which is made if it does not exist.
    pub(crate) fn open_or_make_dir(&self, name: &Path) -> Result<Self> {
        self.make_dir(name)?;
        let fd =
            open_beneath(self.0.as_fd(), name).with_context(|| format!("cannot open {}", quoted(name)))?;
        Ok(Self(fd))
    }

    /// Makes a directory in it if it does not exist.
    pub(crate) fn make_dir(&self, name: &Path) -> Result<()> {
        ignore_existing(name, mkdirat(&self.0, name, Mode::from_raw_mode(0o755)))
    }

    /// Opens a directory below it, which is made with its parents.
    pub(crate) fn make_dirs(&self, path: &Path) -> Result<Self> {
        let mut folder = Self(self.0.try_clone().context("cannot open a folder again")?);
        for part in relative_parts(path) {
            folder = folder.open_or_make_dir(Path::new(part))?;
        }
        Ok(folder)
    }

    /// Makes a file with this content.
    pub(crate) fn write_file(&self, name: &Path, bytes: &[u8]) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::from_raw_mode(0o644)).map_err(io::Error::from);
        let write = file.and_then(|file| std::fs::File::from(file).write_all(bytes));
        write.with_context(|| format!("cannot make {}", quoted(name)))
    }

    /// Makes an empty file to be mounted on, if nothing has this name.
    pub(crate) fn make_file(&self, name: &Path) -> Result<()> {
        ignore_existing(name, mknodat(&self.0, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0))
    }

    pub(crate) fn make_symlink(&self, name: &Path, target: &Path) -> Result<()> {
        let linked = symlinkat(target, &self.0, name).map_err(io::Error::from);
        linked.with_context(|| format!("cannot make {}", quoted(name)))
    }

    /// Attaches a detached mount at an entry.
    pub(crate) fn mount(&self, name: &Path, mount: impl AsFd) -> Result<()> {
        move_mount(mount, c"", &self.0, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(io::Error::from)
            .with_context(|| format!("cannot mount on {}", quoted(name)))
    }

    /// Returns whether it has such an entry.
    pub(crate) fn has_entry(&self, name: &Path) -> bool {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Opens a path below it, which may belong to anyone, to be mounted on.
    pub(crate) fn open_mount_point(&self, path: &Path) -> Result<OwnedFd> {
        let found = open_beneath(self.0.as_fd(), path.strip_prefix("/").unwrap_or(path));
        let errno = found.as_ref().err().and_then(io::Error::raw_os_error);
        found.with_context(|| match errno {
            Some(nix::libc::ELOOP) => format!("the path {} contains a symlink", quoted(path)),
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

/// Ignores that an entry exists already.
fn ignore_existing(name: &Path, result: Result<(), Errno>) -> Result<()> {
    match result {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(err) => Err(io::Error::from(err)).with_context(|| format!("cannot make {}", quoted(name))),
    }
}

/// Opens a path beneath a directory without following symlinks.
fn open_beneath(from: BorrowedFd, path: &Path) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(from, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Returns the parts of a path without the root before them.
fn relative_parts(path: &Path) -> impl Iterator<Item = &std::ffi::OsStr> {
    path.strip_prefix("/").unwrap_or(path).iter()
}
