//! The new root, on our own tmpfs. The order of work is what keeps an app from steering it: first everything of the host
//! is opened, then all places are made, while the tmpfs holds nothing but what we put there, then the trees are put in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::{chdir, fchdir};
use rustix::fs::{CWD, FileType};
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};
use rustix::process::pivot_root;

use crate::caller::Identity;
use crate::cli::shown;
use crate::place::Places;
use crate::plan::{BASE, Mount, Plan, What};
use crate::tree::{self, READ_ONLY, Tree, WRITABLE};
use crate::{devices, etc, filesystem, proc, sys};

/// Folders that are there, and empty unless something is put in.
const FOLDERS: [&str; 5] = ["etc", "home", "proc", "run", "var"];
/// Links, and where they lead.
const LINKS: [(&str, &str); 3] =
    [("etc/mtab", "/proc/self/mounts"), ("var/tmp", "/tmp"), ("var/run", "/run")];

/// Something of the host and its place inside, absolute.
pub(crate) type Placed = (PathBuf, Tree);

/// Makes the new root and leaves the old one for good.
pub(crate) fn enter(plan: &Plan, identity: Identity) -> Result<()> {
    // What the host mounts from now on stays out.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(io::Error::from)
        .context("cannot detach from the host's mounts")?;
    let asked = plan.mounts.iter().map(open).collect::<Result<Vec<_>>>()?;
    let base = plan.base.as_deref().map(open_base).transpose()?;

    let root = filesystem::memory("50%", "755", READ_ONLY.difference(MountAttrFlags::MOUNT_ATTR_RDONLY))
        .context("cannot make the new root")?;
    // It hides the old root by lying on it, which needs no empty folder on the host.
    move_mount(&root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(io::Error::from)
        .context("cannot mount the new root")?;
    let places = Places::new(&root, plan);
    for folder in FOLDERS {
        places.folder(Path::new(folder))?;
    }
    for (link, target) in LINKS {
        places.link(Path::new(link), Path::new(target))?;
    }
    let mut given = Vec::new();
    if let Some(base) = &base {
        given.extend(base_trees(&places, base)?);
    }
    given.extend(etc::write(plan, identity, &places, base.as_ref())?);
    given.extend(devices::make(&places)?);
    for (mount, tree) in plan.mounts.iter().zip(&asked).filter(|(mount, _)| mount.inside.is_none()) {
        make_place(&places, mount, tree.as_ref()).with_context(|| describe(mount))?;
    }

    proc::mount(&places, identity)?;
    for (path, tree) in &given {
        let place = places.find(path)?;
        tree.attach(place).with_context(|| format!("cannot put {} in place", shown(path)))?;
    }
    for (mount, tree) in plan.mounts.iter().zip(&asked) {
        put(&places, mount, tree.as_ref()).with_context(|| describe(mount))?;
    }
    sys::set_mount(&root, READ_ONLY, false).context("cannot make the new root read-only")?;
    become_root(&root)
}

/// How a mount is called in an error.
fn describe(mount: &Mount) -> String {
    format!("{}: cannot put anything at {}", mount.option, shown(&mount.dst))
}

/// Opens and copies what a mount shows; nothing for memory.
fn open(mount: &Mount) -> Result<Option<Tree>> {
    let What::Tree { src, writable, folder } = &mount.what else { return Ok(None) };
    let open = || -> Result<Tree> {
        let fd = tree::open(src)?;
        if *folder && tree::file_type(&fd)? != FileType::Directory {
            bail!("{} is not a folder", shown(src));
        }
        Tree::copy(fd, if *writable { WRITABLE } else { READ_ONLY }).with_context(|| shown(src))
    };
    open().context(mount.option).map(Some)
}

/// The tree that the programs come from.
fn open_base(dir: &Path) -> Result<OwnedFd> {
    let fd = tree::open(dir).context("--root")?;
    if tree::file_type(&fd)? != FileType::Directory {
        bail!("--root: {} is not a folder", shown(dir));
    }
    Ok(fd)
}

/// Links are made as they are; for folders a place is made and the tree handed back.
fn base_trees(places: &Places, base: &OwnedFd) -> Result<Vec<Placed>> {
    let mut trees = Vec::new();
    for name in BASE.map(Path::new).into_iter().filter(|name| places.is_free(name)) {
        if let Some(target) = tree::link(base, name)? {
            places.link(name, &target)?;
        } else if let Some(fd) = tree::find(base, name)? {
            let tree =
                Tree::copy(fd, READ_ONLY).with_context(|| format!("cannot let in '/{}'", name.display()))?;
            places.folder(name)?;
            trees.push((Path::new("/").join(name), tree));
        }
    }
    Ok(trees)
}

/// Makes the place of a mount in our own tmpfs; memory is mounted at once, since other places may lie in it.
fn make_place(places: &Places, mount: &Mount, tree: Option<&Tree>) -> Result<()> {
    match tree {
        Some(tree) if !tree.folder => places.file(&mount.dst, b""),
        Some(_) => places.folder(&mount.dst).map(drop),
        None => put_memory(mount, places.folder(&mount.dst)?),
    }
}

/// Puts a tree in its place, and memory that lies in another tree.
fn put(places: &Places, mount: &Mount, tree: Option<&Tree>) -> Result<()> {
    match tree {
        Some(tree) => tree.attach(places.find(&mount.dst)?),
        None if mount.inside.is_some() => put_memory(mount, places.find(&mount.dst)?),
        None => Ok(()),
    }
}

/// Mounts new memory on a folder.
fn put_memory(mount: &Mount, place: impl AsFd) -> Result<()> {
    let What::Memory { size, mode } = &mount.what else { return Ok(()) };
    tree::attach(filesystem::memory(size, mode, WRITABLE)?, place)
}

/// The new root becomes `/`, and the old one is gone.
fn become_root(root: &OwnedFd) -> Result<()> {
    fchdir(root).context("cannot enter the new root")?;
    // The old root comes to lie on the new one, where the next line finds it.
    pivot_root(".", ".").map_err(io::Error::from).context("cannot change the root")?;
    unmount(".", UnmountFlags::DETACH).map_err(io::Error::from).context("cannot leave the old root")?;
    chdir("/").context("cannot enter the new root")
}
