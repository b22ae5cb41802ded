//! Trees of the host as descriptors: opened without being led astray, copied as detached mounts, put in place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::errors::quoted;
use crate::sys;

/// A tree that nothing may be written to, and whose set-uid programs and devices are plain files.
pub(crate) const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);
/// The same, but writable.
pub(crate) const WRITABLE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
/// A device: of no use without being one, and read-only so that its owner cannot change its mode.
pub(crate) const DEVICE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Something of the host that is going to appear in the jail.
pub(crate) struct HostTree {
    /// A detached copy of the mount.
    mount: OwnedFd,
    /// A folder, not a file.
    pub(crate) folder: bool,
}

/// Opens a source as its caller named it. Its last part must not be a symbolic link: whoever may replace it would choose
/// what is shown.
pub(crate) fn open(src: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // With a slash at its end the last part would be followed.
    let src: PathBuf = src.components().collect();
    let fd = openat2(CWD, &src, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot open {}", quoted(&src)))?;
    if file_type(&fd)? == FileType::Symlink {
        bail!("{} is a symbolic link; name the file or folder itself", quoted(&src));
    }
    Ok(fd)
}

/// A folder, not a file.
pub(crate) fn is_folder(fd: impl AsFd) -> Result<bool> {
    Ok(file_type(fd)? == FileType::Directory)
}

fn file_type(fd: impl AsFd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(fd).map_err(io::Error::from)?.st_mode))
}

impl HostTree {
    /// A private copy of what `source` is the root of, everything mounted below it included, restricted.
    pub(crate) fn copy(source: impl AsFd, folder: bool, attributes: MountAttrFlags) -> Result<Self> {
        let mut flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if folder {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let mount =
            open_tree(source, c"", flags).map_err(io::Error::from).context("cannot copy the mount")?;
        sys::set_mount(&mount, attributes, folder).context("cannot restrict the mount")?;
        Ok(Self { mount, folder })
    }
}

impl HostTree {
    /// Makes one more copy of a tree that has been attached, with the same restrictions.
    pub(crate) fn again(&self) -> Result<Self> {
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

/// Mounts the detached `mount` on what `place` stands for.
pub(crate) fn attach(mount: impl AsFd, place: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", place, c"", flags).map_err(io::Error::from).context("cannot mount")
}
