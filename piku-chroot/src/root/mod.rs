//! The new root on a tmpfs of the jail. Its order of work keeps an app from steering it: first all sources
//! are opened, then all mount points are made, while the tmpfs holds nothing but entries of ours, and only
//! then the sources are mounted.

pub(crate) mod base;
pub(crate) mod devices;
pub(crate) mod etc;
pub(crate) mod filesystem;
pub(crate) mod folder;
mod granted;
pub(crate) mod proc;
pub(crate) mod tree;
pub(crate) mod watch;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::unistd::{chdir, chroot, fchdir};
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{pivot_root, umask};

use crate::errors::diagnosis::{SetupStep, explain_step};
use crate::errors::quoted;
use crate::hostfiles::{FileContent, follow};
use crate::ids::caller::CallerIdentity;
use crate::limits::MemoryAmount;
use crate::plan::{JailMount, JailPlan, MountContent};
use crate::prepared::{PreparedCopy, PreparedRoot};
use crate::root::base::OpenedBase;
use crate::root::folder::OpenedFolder;
use crate::root::tree::{HostTree, READ_ONLY, WRITABLE};
use crate::scratch::WritableApp;
use crate::{fd_channel, sys};

/// Directories that are empty unless an option mounts something there.
const EMPTY: [&str; 2] = ["home", "run"];
/// Symlinks in `/var` and their targets.
const VAR_LINKS: [(&str, &str); 2] = [("tmp", "/tmp"), ("run", "/run")];

/// Makes the new root and leaves the old one for good. The new `/etc`, which lacks the `host_files` unless the root is
/// `prepared`, is sent on `channel`, if there is one, so that the monitor can write them and keep them up to date.
/// `writable` has the mounts that make /app writable.
pub(crate) fn enter_new_root(
    plan: &JailPlan,
    identity: CallerIdentity,
    host_files: &[&'static str],
    channel: Option<&OwnedFd>,
    mut writable: WritableApp,
    prepared: Option<PreparedRoot>,
) -> Result<()> {
    // The entries are readable for an own user.
    umask(Mode::from_raw_mode(0o022));
    if prepared.is_none() {
        detach_mounts()?;
    }
    // First all that follows from the host's mounts, which a prepared root lacks.
    let largest = plan.limits.memory.map(MemoryAmount::bytes);
    let mut open = |mount| match writable.take_overlay(mount) {
        Some(overlay) => Ok(Some(overlay)),
        None => open_source(mount),
    };
    let asked = plan.mounts.iter().map(&mut open).collect::<Result<Vec<_>>>()?;
    let proc = proc::new_proc()?;
    let enter = |prepared: PreparedRoot| prepared.enter_copy(|root| open_places(root, plan, &asked));
    let copied = prepared.map(enter).transpose()?.flatten();
    let is_copied = copied.is_some();
    let (root, mut places, handed) = if let Some(PreparedCopy { root, places, etc, left }) = copied {
        (root, places, [Some(etc), Some(left)])
    } else {
        let old_etc = channel.and_then(|_| open_directory(Path::new("/etc")).ok());
        let root = make_shared_root(plan, identity, host_files)?;
        let etc = channel.map(|_| copy_etc(&root, old_etc).context("cannot pass on /etc")).transpose()?;
        (root, plan.mounts.iter().map(|_| None).collect(), [etc, None])
    };
    if let Some(channel) = channel {
        let handed: Vec<BorrowedFd<'_>> = handed.iter().flatten().map(AsFd::as_fd).collect();
        fd_channel::send_fds(channel, &handed).map_err(io::Error::from).context("cannot pass on /etc")?;
    }
    drop(handed);
    devices::mount_terminals(&root)?;
    proc::mount_proc(&root, proc, identity)?;
    // So far the new root holds only entries of ours and read-only trees, and all mount points are made
    // before anything else is mounted.
    let mut mounts: Vec<_> = plan.mounts.iter().zip(&asked).zip(&mut places).collect();
    for ((mount, tree), place) in mounts.iter_mut().filter(|((mount, _), _)| mount.inside.is_none()) {
        make_mount_point(&root, mount, tree.as_ref(), place, largest)
            .with_context(|| describe_mount(mount))?;
    }
    for ((mount, tree), place) in mounts {
        attach_source(&root, mount, tree.as_ref(), place.take(), largest)
            .with_context(|| describe_mount(mount))?;
    }
    for (place, tree) in writable.binds() {
        root.open_mount_point(place)
            .and_then(|place| tree::attach_mount(tree, place))
            .with_context(|| format!("--keep: cannot mount at {}", quoted(place)))?;
    }
    sys::set_mount_attributes(&root, READ_ONLY, false).context("cannot make the new root read-only")?;
    if is_copied { chdir("/").context("cannot enter the new root") } else { become_root(&root) }
}

/// Makes the mounts of this namespace independent of the host's: later ones stay out of the root.
pub(crate) fn detach_mounts() -> Result<()> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|err| explain_step(SetupStep::Rights, &err.into()))
        .context("cannot detach from the host's mounts")
}

/// Makes a root with the entries that are the same in all jails of an app, and leaves the old one for good: the new
/// root can be copied from this mount namespace.
pub(crate) fn become_shared_root(
    plan: &JailPlan,
    identity: CallerIdentity,
    host: &[(&'static str, FileContent)],
) -> Result<()> {
    umask(Mode::from_raw_mode(0o022));
    detach_mounts()?;
    let asked = plan.mounts.iter().map(open_source).collect::<Result<Vec<_>>>()?;
    let host_files: Vec<&str> = host.iter().map(|(name, _)| *name).collect();
    let root = make_shared_root(plan, identity, &host_files)?;
    let etc = root.open_mount_point(Path::new("etc"))?;
    follow::bring_up_to_date(&etc, host).context("cannot write /etc")?;
    for (mount, tree) in plan.mounts.iter().zip(&asked).filter(|(mount, _)| plan.is_mounted_on_root(mount)) {
        make_place(&root, mount, tree.as_ref()).with_context(|| describe_mount(mount))?;
    }
    become_root(&root)
}

/// Opens the mount points of the plan that are on a prepared root itself. Returns `None` if it lacks one: nothing may be
/// made in it.
fn open_places(root: &OpenedFolder, plan: &JailPlan, asked: &[Option<HostTree>]) -> Option<MountPlaces> {
    let open = |(mount, tree): (&JailMount, &Option<HostTree>)| {
        if !plan.is_mounted_on_root(mount) {
            return Some(None);
        }
        let place = root.open_mount_point(&mount.dst).ok()?;
        let fits = tree::is_folder(&place).ok()? == tree.as_ref().is_none_or(|tree| tree.folder);
        fits.then_some(Some(place))
    };
    plan.mounts.iter().zip(asked).map(open).collect()
}

/// The opened mount point of each mount, if there is one already.
pub(crate) type MountPlaces = Vec<Option<OwnedFd>>;

/// Covers the old root, which needs no empty directory on the host.
fn cover_old(root: &OpenedFolder) -> Result<()> {
    move_mount(root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(io::Error::from)
        .context("cannot mount the new root")
}

/// Makes a root, over the old one, with the entries that are the same in all jails of an app.
fn make_shared_root(
    plan: &JailPlan,
    identity: CallerIdentity,
    host_files: &[&'static str],
) -> Result<OpenedFolder> {
    let base = plan.base.as_deref().map(OpenedBase::open).transpose().context("--root")?;
    let attributes = READ_ONLY.difference(MountAttrFlags::MOUNT_ATTR_RDONLY);
    let root = filesystem::new_tmpfs(MemoryAmount::Percent(50), "755", attributes)
        .context("cannot make the new root")?;
    let root = OpenedFolder::new(root);
    cover_old(&root)?;
    for name in EMPTY {
        root.make_dir(Path::new(name))?;
    }
    let var = root.open_or_make_dir(Path::new("var"))?;
    for (link, target) in
        VAR_LINKS.iter().filter(|(link, _)| !plan.is_mount_point(&Path::new("/var").join(link)))
    {
        var.make_symlink(Path::new(link), Path::new(target))?;
    }
    if let Some(base) = &base {
        base.mount_in(&root, plan)?;
    }
    etc::make_entries(&root.open_or_make_dir(Path::new("etc"))?, plan, identity, base.as_ref(), host_files)?;
    devices::make_entries(&root.open_or_make_dir(Path::new("dev"))?, plan)?;
    proc::make_entries(&root, &var)?;
    Ok(root)
}

/// Opens a directory of the root of this process.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes a separate mount of `/etc`, since the root's becomes read-only.
///
/// It is attached to the old root, with which it is unmounted. To close a mount that was never attached takes a
/// grace period of the kernel, which would delay each end of a jail.
fn copy_etc(root: &OpenedFolder, old_etc: Option<OwnedFd>) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let etc = open_tree(root.open_mount_point(Path::new("etc"))?, c"", flags).map_err(io::Error::from)?;
    if let Some(place) = old_etc {
        // If this fails, the end of the jail takes longer.
        let _ = tree::attach_mount(&etc, place);
    }
    Ok(etc)
}

/// Returns the context of an error.
fn describe_mount(mount: &JailMount) -> String {
    format!("{}: cannot mount at {}", mount.option, quoted(&mount.dst))
}

/// Opens and copies the source of a mount; `None` for a tmpfs.
fn open_source(mount: &JailMount) -> Result<Option<HostTree>> {
    let (src, writable, folder) = match &mount.content {
        MountContent::Tree { src, writable, folder } => (src, writable, folder),
        MountContent::Granted { src, access } => {
            return granted::open_granted(src, *access).context(mount.option).map(Some);
        }
        MountContent::Memory { .. } => return Ok(None),
    };
    let open = || -> Result<HostTree> {
        let fd = tree::open_source(src)?;
        let is_folder = tree::is_folder(&fd)?;
        ensure!(is_folder || !*folder, "{} is not a directory", quoted(src));
        HostTree::copy(fd, is_folder, if *writable { WRITABLE } else { READ_ONLY })
            .with_context(|| quoted(src))
    };
    open().context(mount.option).map(Some)
}

/// Makes a mount point in our own tmpfs. A tmpfs is mounted at once, since it may contain other mount points.
fn make_mount_point(
    root: &OpenedFolder,
    mount: &JailMount,
    tree: Option<&HostTree>,
    place: &mut Option<OwnedFd>,
    largest: Option<u64>,
) -> Result<()> {
    if place.is_none() {
        make_place(root, mount, tree)?;
    }
    match (tree, &mount.content) {
        (None, MountContent::Memory { size, mode }) => {
            let tmpfs = make_tmpfs(*size, mode, largest)?;
            tree::attach_mount(tmpfs, mount_point(root, mount, place.take())?)
        }
        _ => Ok(()),
    }
}

/// Returns the opened mount point, or opens it.
fn mount_point(root: &OpenedFolder, mount: &JailMount, place: Option<OwnedFd>) -> Result<OwnedFd> {
    place.map_or_else(|| root.open_mount_point(&mount.dst), Ok)
}

/// Makes an empty file or directory to be mounted on.
fn make_place(root: &OpenedFolder, mount: &JailMount, tree: Option<&HostTree>) -> Result<()> {
    let (Some(parent), Some(name)) = (mount.dst.parent(), mount.dst.file_name()) else { return Ok(()) };
    let (parent, name) = (root.make_dirs(parent)?, Path::new(name));
    match tree {
        Some(tree) if !tree.folder => parent.make_file(name),
        _ => parent.make_dir(name),
    }
}

/// Mounts a tree, or a tmpfs in another tree.
fn attach_source(
    root: &OpenedFolder,
    mount: &JailMount,
    tree: Option<&HostTree>,
    place: Option<OwnedFd>,
    largest: Option<u64>,
) -> Result<()> {
    match (tree, &mount.content) {
        (Some(tree), _) => tree::attach_mount(tree, mount_point(root, mount, place)?),
        (None, MountContent::Memory { size, mode }) if mount.inside.is_some() => {
            tree::attach_mount(make_tmpfs(*size, mode, largest)?, root.open_mount_point(&mount.dst)?)
        }
        _ => Ok(()),
    }
}

/// Makes a writable tmpfs. Only a cgroup counts the files in it, so none may grow beyond `largest`.
fn make_tmpfs(size: MemoryAmount, mode: &str, largest: Option<u64>) -> Result<OwnedFd> {
    let capped = largest.filter(|largest| *largest < size.bytes()).map_or(size, MemoryAmount::Bytes);
    filesystem::new_tmpfs(capped, mode, WRITABLE)
}

/// Makes the new root `/` and drops the old one.
fn become_root(root: &OpenedFolder) -> Result<()> {
    fchdir(root).context("cannot enter the new root")?;
    match pivot_root(".", ".") {
        // The old root is now mounted on the new one.
        Ok(()) => unmount(".", UnmountFlags::DETACH)
            .map_err(io::Error::from)
            .context("cannot leave the old root")?,
        // In an initramfs the root is the first mount of all, which cannot be moved. The new root covers it:
        // a path lookup starts at the uppermost mount, and going up from a root ends there. The old root
        // could be reached only by an older descriptor, all of which are closed, or by umount, chroot or
        // setns, for which the command has neither the capability nor the system call.
        Err(Errno::INVAL) => chroot(".").context("cannot change the root")?,
        Err(err) => return Err(io::Error::from(err)).context("cannot change the root"),
    }
    chdir("/").context("cannot enter the new root")
}
