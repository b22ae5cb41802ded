//! Overlays: a tree of the host below a writable folder on disk, which holds what the command changes. The
//! tree itself is never written.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::libc::{EACCES, EINVAL, ENODEV, ENOSYS, EOPNOTSUPP, EPERM};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use crate::ids::caller::CallerIdentity;
use crate::root::tree::WRITABLE;

/// Names in the folder of an overlay.
pub(super) const UPPER: &str = "upper";
const WORK: &str = "work";

/// Result of an attempt to mount an overlay.
#[derive(Debug)]
pub(crate) enum OverlayAttempt {
    /// A detached mount.
    Mounted(OwnedFd),
    /// This kernel, its settings or the file system of the folder do not allow it.
    Refused(io::Error),
}

/// Makes the directories of an overlay in `folder`. The upper one, which the command sees as the top of the
/// tree, belongs to `owner` and has the mode of the lower one.
pub(super) fn make_directories(folder: &Path, lower: impl AsFd, owner: CallerIdentity) -> Result<()> {
    let make = |path: &Path| DirBuilder::new().mode(0o700).recursive(true).create(path);
    let (upper, work) = (folder.join(UPPER), folder.join(WORK));
    make(&upper).and_then(|()| make(&work)).context("cannot make the directories of an overlay")?;
    let mode = Mode::from_raw_mode(fstat(lower).map_err(io::Error::from)?.st_mode & 0o777 | 0o700);
    let own = || -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(owner.uid.as_raw()), Gid::from_raw(owner.gid.as_raw()));
        chownat(CWD, &upper, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        fchmod(open(&upper, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?, mode)
    };
    own().map_err(io::Error::from).context("cannot set the owner of an overlay")
}

/// Mounts the overlay of `folder` over the tree `lower`.
pub(super) fn mount_over(
    lower: impl AsFd,
    folder: &Path,
    attributes: MountAttrFlags,
) -> Result<OverlayAttempt> {
    let open_part = |name: &str| -> Result<OwnedFd, Errno> {
        open(folder.join(name), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let mount = || -> Result<OwnedFd, Errno> {
        let (upper, work) = (open_part(UPPER)?, open_part(WORK)?);
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // Names of descriptors, because a comma or a colon in a path would be taken for a separator.
        for (option, fd) in
            [("lowerdir", lower.as_fd()), ("upperdir", upper.as_fd()), ("workdir", work.as_fd())]
        {
            fsconfig_set_string(&context, option, format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
        }
        // Keeps its marks in attributes that a user namespace may set (Linux 5.11).
        fsconfig_set_flag(&context, "userxattr")?;
        // The upper directory ends with the jail. Without this, each unmount would sync the whole disk.
        fsconfig_set_flag(&context, "volatile")?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    match mount().map_err(io::Error::from) {
        Ok(fd) => Ok(OverlayAttempt::Mounted(fd)),
        Err(err) if is_refusal(&err) => Ok(OverlayAttempt::Refused(err)),
        Err(err) => Err(err).context("cannot mount an overlay"),
    }
}

/// Returns whether no later attempt can succeed, in contrast to a full disk or a lack of memory.
fn is_refusal(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(EPERM | EACCES | EINVAL | ENODEV | ENOSYS | EOPNOTSUPP))
}

/// Tries, in new namespaces, to mount an overlay in a tmpfs or, if one is given, in a directory on disk.
pub(crate) fn try_overlay(parent: Option<&Path>) -> Result<()> {
    let memory = parent.is_none().then(|| Path::new("/tmp"));
    if let Some(place) = memory {
        let tmpfs =
            crate::root::filesystem::new_tmpfs(crate::limits::MemoryAmount::Bytes(1 << 20), "755", WRITABLE)?;
        let place = open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)?;
        crate::root::tree::attach_mount(tmpfs, place)?;
    }
    let top = parent.or(memory).unwrap_or(Path::new("/tmp"));
    let folder = top.join(format!(".overlay-{}", std::process::id()));
    let tried = (|| {
        DirBuilder::new().recursive(true).mode(0o700).create(folder.join("lower"))?;
        let lower = fs::File::open(folder.join("lower"))?;
        let identity = CallerIdentity { uid: nix::unistd::geteuid(), gid: nix::unistd::getegid() };
        make_directories(&folder, &lower, identity)?;
        match mount_over(&lower, &folder, WRITABLE)? {
            OverlayAttempt::Mounted(_) => Ok(()),
            OverlayAttempt::Refused(err) => Err(err).context("the kernel does not mount it"),
        }
    })();
    let _ = piku_files::remove_all(&folder);
    tried
}
