//! Paths of the host that an operator has granted: devices, sockets, files and directories. An app may be
//! able to write to a directory around one, so no part of the path may be a symlink.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::errors::quoted;
use crate::plan::GrantAccess;
use crate::root::tree::{DEVICE, HostTree, READ_ONLY, WRITABLE};

/// Opens and copies a granted path.
pub(super) fn open_granted(src: &Path, access: GrantAccess) -> Result<HostTree> {
    // A trailing slash would make the kernel follow the last part.
    let src: PathBuf = src.components().collect();
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let fd = openat2(CWD, &src, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot open {}", quoted(&src)))?;
    let kind = FileType::from_raw_mode(fstat(&fd).map_err(io::Error::from)?.st_mode);
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let is_folder = kind == FileType::Directory;
    let attributes = match access {
        GrantAccess::Device => {
            ensure!(is_device || is_folder, "{} is neither a device nor a directory", quoted(&src));
            DEVICE
        }
        GrantAccess::Write => WRITABLE,
        GrantAccess::Read => READ_ONLY,
    };
    HostTree::copy(fd, is_folder, attributes).with_context(|| quoted(&src))
}
