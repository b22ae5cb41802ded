//! New file systems as detached mounts.

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

use crate::limits::MemoryAmount;

/// Maximum number of files and directories in a tmpfs: each takes a kilobyte of kernel memory, which `size`
/// does not count.
const FILES: &str = "65536";

/// Makes a tmpfs of at most this size.
pub(crate) fn new_tmpfs(size: MemoryAmount, mode: &str, attributes: MountAttrFlags) -> Result<OwnedFd> {
    new_filesystem("tmpfs", &[("size", &size.to_string()), ("nr_inodes", FILES), ("mode", mode)], attributes)
        .context("cannot make a tmpfs")
}

/// Makes a file system of this type.
pub(crate) fn new_filesystem(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let make = || -> Result<OwnedFd, rustix::io::Errno> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (name, value) in options {
            fsconfig_set_string(&context, *name, *value)?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().map_err(io::Error::from)
}
