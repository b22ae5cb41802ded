//! What appears in the jail and where: the options become places, checked and in the order in which they can be made.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::{APP, DATA};
use crate::cli::ChrootCli;
use crate::errors::quoted;
use crate::limits::MemoryAmount;

/// The size of `/dev/shm`.
const SHARED_MEMORY: MemoryAmount = MemoryAmount::Bytes(64 << 20);
/// Places of the new root that are always ours: nothing of the caller's goes there.
const OURS: [&str; 3] = ["/proc", "/dev/pts", "/dev/fd"];

/// One thing that appears in the jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JailMount {
    /// The option that asked for it.
    pub(crate) option: &'static str,
    /// Where, absolute and plain.
    pub(crate) dst: PathBuf,
    /// What.
    pub(crate) what: MountContent,
    /// It lies in a tree that is not ours, so its place must be there already.
    pub(crate) inside: Option<PathBuf>,
}

/// What appears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountContent {
    /// A file or folder of the host.
    Tree {
        /// Which.
        src: PathBuf,
        /// Whether it may be written to.
        writable: bool,
        /// Whether only a folder will do.
        folder: bool,
    },
    /// Empty memory.
    Memory {
        /// At most that much, and no more than the limit on the jail's memory.
        size: MemoryAmount,
        /// Who may write: `1777` or `755`.
        mode: &'static str,
    },
}

/// Everything that is mounted, parents first, each told whether it lies in another tree.
pub(super) fn mounts(options: &ChrootCli, has_base: bool) -> Result<Vec<JailMount>> {
    let mut mounts = Vec::new();
    let mut add = |option, dst: &Path, what| -> Result<()> {
        let dst = destination(dst).context(option)?;
        if let Some(other) = mounts.iter().find(|other: &&JailMount| other.dst == dst) {
            bail!("{option}: {} is taken by {}", quoted(&dst), other.option);
        }
        mounts.push(JailMount { option, dst, what, inside: None });
        Ok(())
    };
    let tree = |src: &Path, writable, folder| MountContent::Tree { src: src.to_owned(), writable, folder };
    if let Some(app) = &options.app {
        add("--app", Path::new(APP), tree(app, false, true))?;
    }
    if let Some(data) = &options.data {
        add("--data", Path::new(DATA), tree(data, true, true))?;
    }
    for pair in &options.bind {
        add("--bind", &pair.dst, tree(&pair.src, true, false))?;
    }
    for pair in &options.ro {
        add("--ro", &pair.dst, tree(&pair.src, false, false))?;
    }
    for memory in &options.tmpfs {
        // As world-writable as the folder usually is; elsewhere it is the only user's anyway.
        add("--tmpfs", &memory.dst, MountContent::Memory { size: memory.size, mode: "1777" })?;
    }
    let temporary = options.tmp_size.unwrap_or(options.defaults().tmp_size);
    for (dst, size) in [("/tmp", temporary), ("/dev/shm", SHARED_MEMORY)] {
        if !mounts.iter().any(|mount| mount.dst == Path::new(dst)) {
            let what = MountContent::Memory { size, mode: "1777" };
            mounts.push(JailMount { option: "", dst: dst.into(), what, inside: None });
        }
    }
    // Stable, so that what was given first stays first among equals.
    mounts.sort_by_key(|mount| mount.dst.components().count());
    // Nothing of ours may be made in the trees of the base.
    let base_trees = BASE_DIRECTORIES.iter().filter(|_| has_base).map(|name| Path::new("/").join(name));
    let foreign: Vec<PathBuf> = mounts
        .iter()
        .filter(|mount| matches!(mount.what, MountContent::Tree { .. }))
        .map(|mount| mount.dst.clone())
        .chain(base_trees)
        .collect();
    for mount in &mut mounts {
        let parents = foreign.iter().filter(|tree| mount.dst != **tree && mount.dst.starts_with(tree));
        mount.inside = parents.max_by_key(|tree| tree.components().count()).cloned();
    }
    Ok(mounts)
}

/// What of a base appears at the top of the new root, when it is there: links as links, folders read-only.
pub const BASE_DIRECTORIES: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// A place that something may be mounted at.
fn destination(path: &Path) -> Result<PathBuf> {
    let path = plain(path)?;
    ensure!(path != Path::new("/"), "the root itself cannot be replaced");
    // What is in it can be, one by one.
    ensure!(path != Path::new("/dev"), "nothing can be put at '/dev': it is made by piku-chroot");
    if let Some(ours) = OURS.iter().find(|ours| path.starts_with(ours)) {
        bail!("nothing can be put at {}: {ours} is made by piku-chroot", quoted(&path));
    }
    Ok(path)
}

/// An absolute path without `.` and `..`, for a place inside.
pub(super) fn plain(path: &Path) -> Result<PathBuf> {
    ensure!(path.is_absolute(), "{} is not an absolute path in the jail", quoted(path));
    ensure!(
        !path.components().any(|part| part == Component::ParentDir),
        "{} has '..' in it, and the jail does not follow that",
        quoted(path)
    );
    Ok(path.components().collect())
}
