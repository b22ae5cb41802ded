//! Trees of the host as descriptors: opened without being led astray, copied as detached mounts, put in place.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat2, readlinkat, statat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::cli::shown;
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
pub(crate) struct Tree {
    /// A detached copy of the mount.
    mount: OwnedFd,
    /// A folder, not a file.
    pub(crate) folder: bool,
}

/// Opens a source as its caller named it. Its last part must not be a symbolic link: whoever may replace it would choose
/// what is shown.
pub(crate) fn open(src: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat2(CWD, src, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot open {}", shown(src)))?;
    if file_type(&fd)? == FileType::Symlink {
        bail!("{} is a symbolic link; name the file or folder itself", shown(src));
    }
    Ok(fd)
}

/// Opens what `path` means in the tree at `base`, whose links stay in that tree, as a mere handle; `None` when there is
/// nothing, or nothing for us.
pub(crate) fn find(base: impl AsFd, path: &Path) -> Result<Option<OwnedFd>> {
    open_in(base, path, OFlags::PATH)
}

/// The same, to list what is in it.
pub(crate) fn open_folder(base: impl AsFd, path: &Path) -> Result<Option<OwnedFd>> {
    open_in(base, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// The same, all of its bytes. Only for what is known to be a file.
pub(crate) fn read(base: impl AsFd, path: &Path) -> Result<Option<Vec<u8>>> {
    let Some(fd) = open_in(base, path, OFlags::RDONLY | OFlags::NONBLOCK)? else { return Ok(None) };
    let mut content = Vec::new();
    File::from(fd).read_to_end(&mut content).with_context(|| format!("cannot read {}", shown(path)))?;
    Ok(Some(content))
}

/// Where the link at `path` leads; `None` when it is no link.
pub(crate) fn link(base: impl AsFd, path: &Path) -> Result<Option<PathBuf>> {
    let Some(fd) = open_in(base, path, OFlags::PATH | OFlags::NOFOLLOW)? else { return Ok(None) };
    if file_type(&fd)? != FileType::Symlink {
        return Ok(None);
    }
    let target = readlinkat(&fd, c"", Vec::new()).map_err(io::Error::from)?;
    Ok(Some(OsString::from_vec(target.into_bytes()).into()))
}

fn open_in(base: impl AsFd, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(base, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(None),
        Err(err) => Err(io::Error::from(err)).with_context(|| format!("cannot open {}", shown(path))),
    }
}

/// What kind of file a descriptor stands for.
pub(crate) fn file_type(fd: impl AsFd) -> Result<FileType> {
    let stat = statat(fd, c"", AtFlags::EMPTY_PATH).map_err(io::Error::from)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

impl Tree {
    /// A private copy of what `source` is the root of, everything mounted below it included, restricted.
    pub(crate) fn copy(source: impl AsFd, attributes: MountAttrFlags) -> Result<Self> {
        let folder = file_type(&source)? == FileType::Directory;
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

    /// Mounts it on the file or folder that `place` stands for.
    pub(crate) fn attach(&self, place: impl AsFd) -> Result<()> {
        attach(&self.mount, place)
    }
}

/// Mounts the detached `mount` on what `place` stands for.
pub(crate) fn attach(mount: impl AsFd, place: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", place, c"", flags).map_err(io::Error::from).context("cannot mount")
}
