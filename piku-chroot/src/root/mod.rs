//! The new root, on our own tmpfs. The order of work is what keeps an app from steering it: first everything of the host
//! is opened, then all places are made, while the tmpfs holds nothing but what we put there, then the trees are put in.

pub(crate) mod base;
pub(crate) mod devices;
pub(crate) mod etc;
pub(crate) mod filesystem;
pub(crate) mod folder;
pub(crate) mod proc;
pub(crate) mod tree;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::unistd::{chdir, chroot, fchdir};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::pivot_root;

use crate::errors::diagnosis::{SetupStep, explain};
use crate::errors::quoted;
use crate::hostfiles::FileContent;
use crate::ids::caller::CallerIdentity;
use crate::limits::MemoryAmount;
use crate::plan::{JailMount, JailPlan, MountContent};
use crate::root::base::OpenedBase;
use crate::root::folder::OpenedFolder;
use crate::root::tree::{HostTree, READ_ONLY, WRITABLE};
use crate::{fd_channel, sys};

/// Folders that are there, and empty unless something is put in.
const EMPTY: [&str; 2] = ["home", "run"];
/// Links in `/var`, and where they lead.
const VAR: [(&str, &str); 2] = [("tmp", "/tmp"), ("run", "/run")];

/// Makes the new root and leaves the old one for good.
///
/// The new `/etc` is handed out on `way` to whoever keeps the host's files in it up to date.
pub(crate) fn enter(
    plan: &JailPlan,
    identity: CallerIdentity,
    host: &[(&'static str, FileContent)],
    way: Option<&OwnedFd>,
) -> Result<()> {
    // What the host mounts from now on stays out.
    detach()?;
    // Asked while the host's /proc can be seen.
    let largest = plan.limits.memory.map(MemoryAmount::bytes);
    let asked = plan.mounts.iter().map(open).collect::<Result<Vec<_>>>()?;
    let base = plan.base.as_deref().map(OpenedBase::open).transpose().context("--root")?;

    let attributes = READ_ONLY.difference(MountAttrFlags::MOUNT_ATTR_RDONLY);
    let root = filesystem::memory(MemoryAmount::Percent(50), "755", attributes)
        .context("cannot make the new root")?;
    // It hides the old root by lying on it, which needs no empty folder on the host.
    move_mount(&root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(io::Error::from)
        .context("cannot mount the new root")?;
    let root = OpenedFolder::new(root);
    fill(&root, plan, identity, base.as_ref(), host)?;
    if let Some(way) = way {
        hand_out_etc(&root, way).context("cannot hand out /etc")?;
    }
    // All that lies in the new root by now is ours or cannot be written to, and the places are made before anything
    // else is put in.
    for (mount, tree) in plan.mounts.iter().zip(&asked).filter(|(mount, _)| mount.inside.is_none()) {
        make_place(&root, mount, tree.as_ref(), largest).with_context(|| describe(mount))?;
    }
    for (mount, tree) in plan.mounts.iter().zip(&asked) {
        put(&root, mount, tree.as_ref(), largest).with_context(|| describe(mount))?;
    }
    sys::set_mount(&root, READ_ONLY, false).context("cannot make the new root read-only")?;
    become_root(&root)
}

/// Makes what is mounted here this namespace's own.
pub(crate) fn detach() -> Result<()> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|err| explain(SetupStep::Rights, &err.into()))
        .context("cannot detach from the host's mounts")
}

/// What every jail has.
fn fill(
    root: &OpenedFolder,
    plan: &JailPlan,
    identity: CallerIdentity,
    base: Option<&OpenedBase>,
    host: &[(&'static str, FileContent)],
) -> Result<()> {
    for name in EMPTY {
        root.make_folder(Path::new(name))?;
    }
    let var = root.folder(Path::new("var"))?;
    for (link, target) in VAR.iter().filter(|(link, _)| !plan.takes(&Path::new("/var").join(link))) {
        var.link(Path::new(link), Path::new(target))?;
    }
    if let Some(base) = base {
        base.let_in(root, plan)?;
    }
    etc::fill(&root.folder(Path::new("etc"))?, plan, identity, base, host)?;
    devices::fill(&root.folder(Path::new("dev"))?, plan)?;
    proc::mount(root, identity)
}

/// A mount of its own for `/etc` alone, since the root's becomes read-only.
fn hand_out_etc(root: &OpenedFolder, way: &OwnedFd) -> Result<()> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let etc = open_tree(root.find(Path::new("etc"))?, c"", flags).map_err(io::Error::from)?;
    fd_channel::send_fd(way, &etc).map_err(io::Error::from)?;
    Ok(())
}

/// How a mount is called in an error.
fn describe(mount: &JailMount) -> String {
    format!("{}: cannot put anything at {}", mount.option, quoted(&mount.dst))
}

/// Opens and copies what a mount shows; nothing for memory.
fn open(mount: &JailMount) -> Result<Option<HostTree>> {
    let MountContent::Tree { src, writable, folder } = &mount.what else { return Ok(None) };
    let open = || -> Result<HostTree> {
        let fd = tree::open(src)?;
        let is_folder = tree::is_folder(&fd)?;
        ensure!(is_folder || !*folder, "{} is not a folder", quoted(src));
        HostTree::copy(fd, is_folder, if *writable { WRITABLE } else { READ_ONLY })
            .with_context(|| quoted(src))
    };
    open().context(mount.option).map(Some)
}

/// Makes the place of a mount in our own tmpfs; memory is mounted at once, since other places may lie in it.
fn make_place(
    root: &OpenedFolder,
    mount: &JailMount,
    tree: Option<&HostTree>,
    largest: Option<u64>,
) -> Result<()> {
    let (Some(parent), Some(name)) = (mount.dst.parent(), mount.dst.file_name()) else { return Ok(()) };
    let (parent, name) = (root.folders(parent)?, Path::new(name));
    match (tree, &mount.what) {
        (Some(tree), _) if !tree.folder => parent.make_file(name),
        (None, MountContent::Memory { size, mode }) => {
            parent.make_folder(name)?;
            parent.mount(name, memory(*size, mode, largest)?)
        }
        _ => parent.make_folder(name),
    }
}

/// Puts a tree in its place, and memory that lies in another tree.
fn put(root: &OpenedFolder, mount: &JailMount, tree: Option<&HostTree>, largest: Option<u64>) -> Result<()> {
    match (tree, &mount.what) {
        (Some(tree), _) => tree::attach(tree, root.find(&mount.dst)?),
        (None, MountContent::Memory { size, mode }) if mount.inside.is_some() => {
            tree::attach(memory(*size, mode, largest)?, root.find(&mount.dst)?)
        }
        _ => Ok(()),
    }
}

/// Makes a writable folder in memory. Files in it count for no limit but a cgroup's, so that none may grow beyond `largest`.
fn memory(size: MemoryAmount, mode: &str, largest: Option<u64>) -> Result<OwnedFd> {
    let capped = largest.filter(|largest| *largest < size.bytes()).map_or(size, MemoryAmount::Bytes);
    filesystem::memory(capped, mode, WRITABLE)
}

/// The new root becomes `/`, and the old one is gone.
fn become_root(root: &OpenedFolder) -> Result<()> {
    fchdir(root).context("cannot enter the new root")?;
    match pivot_root(".", ".") {
        // The old root came to lie on the new one, where this finds it.
        Ok(()) => unmount(".", UnmountFlags::DETACH)
            .map_err(io::Error::from)
            .context("cannot leave the old root")?,
        // In an initramfs: its root is the first mount of all, and that cannot be moved. The new root lies on it and hides it:
        // a path is looked up from the uppermost mount on, and going up from a root ends there. What leads below is a
        // descriptor from before, all of which are closed; or umount, another chroot, setns, for which the command has
        // neither the capability nor the call.
        Err(Errno::INVAL) => chroot(".").context("cannot change the root")?,
        Err(err) => return Err(io::Error::from(err)).context("cannot change the root"),
    }
    chdir("/").context("cannot enter the new root")
}
