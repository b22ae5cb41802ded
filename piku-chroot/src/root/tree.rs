//! Sources on the host: opened without following symlinks, copied as detached mounts and attached.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::errors::quoted;
use crate::sys;

/// Attributes of a read-only tree without set-uid programs and devices.
pub(crate) const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);
/// Attributes of a writable tree without set-uid programs and devices.
pub(crate) const WRITABLE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
/// Attributes of a device. Read-only, so that its owner cannot change its mode.
pub(crate) const DEVICE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A detached copy of a mount of the host.
#[derive(Debug)]
pub(crate) struct HostTree {
    mount: OwnedFd,
    /// Set for a directory, not for a file.
    pub(crate) folder: bool,
}

/// Opens a source. Its last part must not be a symlink: a user who can replace the symlink would choose the
/// source.
pub(crate) fn open_source(src: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A trailing slash would make the kernel follow the last part.
    let src: PathBuf = src.components().collect();
    let fd = openat2(CWD, &src, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot open {}", quoted(&src)))?;
    if file_type(&fd)? == FileType::Symlink {
        bail!("{} is a symlink; name the file or directory itself", quoted(&src));
    }
    Ok(fd)
}

pub(crate) fn is_folder(fd: impl AsFd) -> Result<bool> {
    Ok(file_type(fd)? == FileType::Directory)
}

fn file_type(fd: impl AsFd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(fd).map_err(io::Error::from)?.st_mode))
}

impl HostTree {
    /// Copies the mount at `source`, including all mounts below it, and restricts the copy.
    pub(crate) fn copy(source: impl AsFd, folder: bool, attributes: MountAttrFlags) -> Result<Self> {
        let copied = open_copy(source, Path::new(""), OpenTreeFlags::AT_EMPTY_PATH, folder);
        Self::restrict(copied.map_err(io::Error::from).context("cannot copy the mount")?, folder, attributes)
    }

    /// Does the same with an entry of a directory, which must not be a symlink.
    pub(crate) fn copy_entry(
        parent: impl AsFd,
        name: &Path,
        folder: bool,
        attributes: MountAttrFlags,
    ) -> Result<Self> {
        let found = Self::copy_existing(parent, name, folder, attributes)?;
        found.ok_or(io::ErrorKind::NotFound).map_err(io::Error::from).context("cannot copy the mount")
    }

    /// Does the same; `None` if there is no such entry.
    pub(crate) fn copy_existing(
        parent: impl AsFd,
        name: &Path,
        folder: bool,
        attributes: MountAttrFlags,
    ) -> Result<Option<Self>> {
        match open_copy(parent, name, OpenTreeFlags::AT_SYMLINK_NOFOLLOW, folder) {
            Ok(mount) => Self::restrict(mount, folder, attributes).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(err) => Err(io::Error::from(err)).context("cannot copy the mount"),
        }
    }

    fn restrict(mount: OwnedFd, folder: bool, attributes: MountAttrFlags) -> Result<Self> {
        sys::set_mount_attributes(&mount, attributes, folder).context("cannot restrict the mount")?;
        Ok(Self { mount, folder })
    }
}

fn open_copy(
    parent: impl AsFd,
    path: &Path,
    flags: OpenTreeFlags,
    recursive: bool,
) -> Result<OwnedFd, Errno> {
    let depth = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    open_tree(parent, path, flags | depth | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

impl HostTree {
    /// Takes a detached mount of a directory.
    pub(crate) fn of_folder(mount: OwnedFd) -> Self {
        Self { mount, folder: true }
    }

    /// Copies a tree that is attached already, with its restrictions.
    pub(crate) fn copy_again(&self) -> Result<Self> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(&self.mount, c"", flags).map_err(io::Error::from);
        Ok(Self { mount: mount.context("cannot copy the mount")?, folder: self.folder })
    }
}

impl AsFd for HostTree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// Attaches a detached mount at `place`.
pub(crate) fn attach_mount(mount: impl AsFd, place: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", place, c"", flags).map_err(io::Error::from).context("cannot mount")
}
