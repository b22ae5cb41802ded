//! Mounts of the jail: the options turned into checked paths, in the order in which they can be mounted.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::{APP, DATA};
use crate::cli::ChrootCli;
use crate::errors::quoted;
use crate::limits::MemoryAmount;

/// Size of `/dev/shm`.
const SHARED_MEMORY: MemoryAmount = MemoryAmount::Bytes(64 << 20);
/// Paths of the new root that piku-chroot makes itself and no option may replace.
const OURS: [&str; 3] = ["/proc", "/dev/pts", "/dev/fd"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JailMount {
    /// The option that asks for it; empty for a default.
    pub(crate) option: &'static str,
    /// Absolute path in the jail without `.` and `..`.
    pub(crate) dst: PathBuf,
    pub(crate) content: MountContent,
    /// The mounted tree that contains `dst`: the mount point must exist in it already.
    pub(crate) inside: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountContent {
    /// A file or directory of the host.
    Tree {
        src: PathBuf,
        writable: bool,
        /// Fail if the source is not a directory.
        folder: bool,
    },
    /// A path of the host that an operator has granted.
    Granted { src: PathBuf, access: GrantAccess },
    /// An empty tmpfs.
    Memory {
        /// Upper bound; the limit on the jail's memory bounds it too.
        size: MemoryAmount,
        /// Permissions: `1777` or `755`.
        mode: &'static str,
    },
}

impl JailMount {
    /// Returns whether this is a tmpfs that contains the mount point of `other`.
    pub(crate) fn is_memory_around(&self, other: &Self) -> bool {
        let is_memory = matches!(self.content, MountContent::Memory { .. });
        is_memory && self.dst != other.dst && other.dst.starts_with(&self.dst)
    }
}

/// Access to a granted path, beside reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantAccess {
    Read,
    Write,
    /// Use the devices in it.
    Device,
}

/// Returns all mounts, parents first. `has_base` says whether the root shows the trees of a base.
pub(super) fn collect_mounts(options: &ChrootCli, has_base: bool) -> Result<Vec<JailMount>> {
    let mut mounts = Vec::new();
    let mut add = |option, dst: &Path, content| -> Result<()> {
        let dst = check_destination(dst).context(option)?;
        if let Some(other) = mounts.iter().find(|other: &&JailMount| other.dst == dst) {
            bail!("{option}: {} is taken by {}", quoted(&dst), other.option);
        }
        mounts.push(JailMount { option, dst, content, inside: None });
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
    for (option, pairs, access) in [
        ("--grant", &options.grant, GrantAccess::Write),
        ("--grant-ro", &options.grant_ro, GrantAccess::Read),
        ("--grant-device", &options.grant_device, GrantAccess::Device),
    ] {
        for pair in pairs {
            add(option, &pair.dst, MountContent::Granted { src: pair.src.clone(), access })?;
        }
    }
    for memory in &options.tmpfs {
        // World-writable like /tmp; elsewhere the command is the only user anyway.
        add("--tmpfs", &memory.dst, MountContent::Memory { size: memory.size, mode: "1777" })?;
    }
    let temporary = options.tmp_size.unwrap_or(options.defaults().tmp_size);
    for (dst, size) in [("/tmp", temporary), ("/dev/shm", SHARED_MEMORY)] {
        if !mounts.iter().any(|mount| mount.dst == Path::new(dst)) {
            let content = MountContent::Memory { size, mode: "1777" };
            mounts.push(JailMount { option: "", dst: dst.into(), content, inside: None });
        }
    }
    // A stable sort: among equals the order of the options stays.
    mounts.sort_by_key(|mount| mount.dst.components().count());
    // No mount point may be made in a tree of the base.
    let base_trees = BASE_DIRECTORIES.iter().filter(|_| has_base).map(|name| Path::new("/").join(name));
    let foreign: Vec<PathBuf> = mounts
        .iter()
        .filter(|mount| matches!(mount.content, MountContent::Tree { .. } | MountContent::Granted { .. }))
        .map(|mount| mount.dst.clone())
        .chain(base_trees)
        .collect();
    for mount in &mut mounts {
        let parents = foreign.iter().filter(|tree| mount.dst != **tree && mount.dst.starts_with(tree));
        mount.inside = parents.max_by_key(|tree| tree.components().count()).cloned();
    }
    Ok(mounts)
}

/// Entries of a base that appear at the top of the new root: symlinks as symlinks, directories read-only.
pub const BASE_DIRECTORIES: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Checks a path that something is to be mounted at.
fn check_destination(path: &Path) -> Result<PathBuf> {
    let path = normalize_path(path)?;
    ensure!(path != Path::new("/"), "the root itself cannot be replaced");
    // Paths below it can be mounted at.
    ensure!(path != Path::new("/dev"), "cannot mount at '/dev': piku-chroot makes it");
    if let Some(ours) = OURS.iter().find(|ours| path.starts_with(ours)) {
        bail!("cannot mount at {}: piku-chroot makes {ours}", quoted(&path));
    }
    Ok(path)
}

/// Returns an absolute path in the jail without `.`; refuses `..`.
pub(super) fn normalize_path(path: &Path) -> Result<PathBuf> {
    ensure!(path.is_absolute(), "{} is not an absolute path in the jail", quoted(path));
    ensure!(
        !path.components().any(|part| part == Component::ParentDir),
        "{} contains '..', which the jail does not follow",
        quoted(path)
    );
    Ok(path.components().collect())
}
