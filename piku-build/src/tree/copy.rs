//! Trees of files: a copy that follows no link, keeps modes and links, and shares no file with the original;
//! and the removal of a tree whatever modes a build has left in it.

#![expect(
    clippy::disallowed_methods,
    reason = "folders that are left out are piku's own, and named by their paths"
)]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::statvfs::fstatvfs;
use piku_files::{CopyLimit, TreeEntry, TreeHandle, WalkStep};

use crate::build::work_folder;
use crate::step::interrupt;
use piku_files::free_space::SpaceNeeded;

/// Paths that a copy of an app's directory leaves out: git's, unfinished builds, and the given ones (a cache
/// or an output inside the app's directory).
pub(crate) struct CopyExclusions {
    places: Vec<(u64, u64)>,
}

impl CopyExclusions {
    /// Excludes these directories if they exist.
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let place = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        Self { places: paths.into_iter().filter_map(place).collect() }
    }

    fn out(&self, entry: &TreeEntry<'_>) -> bool {
        let name = entry.name().as_encoded_bytes();
        let stat = entry.stat();
        name == b".git"
            || name.starts_with(work_folder::PREFIX.as_bytes())
            || stat.is_dir() && self.places.contains(&(stat.dev, stat.ino))
    }
}

pub(crate) fn measure_tree(tree: &TreeHandle, leave: &CopyExclusions) -> anyhow::Result<SpaceNeeded> {
    let mut need = SpaceNeeded::of(0);
    tree.walk(|entry| {
        if leave.out(entry) {
            return Ok(WalkStep::Over);
        }
        let stat = entry.stat();
        if stat.is_dir() {
            interrupt::check()?;
        }
        need += SpaceNeeded { bytes: stat.len.checked_next_multiple_of(4096).unwrap_or(u64::MAX), files: 1 };
        Ok::<_, anyhow::Error>(WalkStep::Into)
    })?;
    Ok(need)
}

/// Copies the tree `from`, whose size was measured, to the new directory `name` of `to`. Returns paths that
/// are neither files, directories nor links and were skipped.
pub(crate) fn copy_tree(
    from: &TreeHandle,
    to: &TreeHandle,
    name: impl AsRef<Path>,
    leave: &CopyExclusions,
    measured: SpaceNeeded,
) -> anyhow::Result<Vec<PathBuf>> {
    let limit = CopyLimit { bytes: measured.bytes, entries: measured.files };
    from.copy_tree(to, name, limit, |entry| {
        if entry.stat().is_dir() {
            interrupt::check()?;
        }
        Ok(!leave.out(entry))
    })
}

/// Returns the limit for a copy of unknown size: the free space on the disk of `tree`.
pub(crate) fn limit_of_disk(tree: &TreeHandle) -> anyhow::Result<CopyLimit> {
    let stat = fstatvfs(tree.as_fd())
        .with_context(|| format!("cannot look at the disk of '{}'", tree.path().display()))?;
    #[expect(clippy::useless_conversion, reason = "these are 32 bits wide on 32-bit machines")]
    let bytes = u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
    Ok(CopyLimit { bytes, entries: u64::MAX })
}

/// Restores permissions that a step has taken from the tree's owner, and sets all other modes to those of a
/// copy.
pub(crate) fn normalize_modes(tree: &TreeHandle) -> anyhow::Result<()> {
    tree.set_mode("", tree.metadata("")?.mode & 0o777 | 0o700)?;
    tree.walk(|entry| {
        let stat = entry.stat();
        let owner = if stat.is_dir() { 0o700 } else { 0o400 };
        let mode = stat.mode & 0o777 | owner;
        if !stat.is_symlink() && mode != stat.mode {
            entry.set_mode(mode)?;
        }
        if stat.is_dir() {
            interrupt::check()?;
        }
        Ok(WalkStep::Into)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        fs::create_dir_all(app.join("closed/deep")).unwrap();
        fs::create_dir_all(app.join(".git")).unwrap();
        fs::create_dir_all(app.join("cache")).unwrap();
        fs::write(app.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(app.join("run.sh"), Permissions::from_mode(0o4755)).unwrap();
        fs::write(app.join("closed/deep/x"), "x").unwrap();
        symlink("/etc/passwd", app.join("out")).unwrap();
        symlink("/etc", app.join("closed/etc")).unwrap();
        fs::set_permissions(app.join("closed"), Permissions::from_mode(0o555)).unwrap();
        dir
    }

    #[test]
    fn what_a_step_has_closed_is_opened() {
        let dir = tree();
        let app = dir.path().join("app");
        let mode = |path: &str| fs::symlink_metadata(app.join(path)).unwrap().mode() & 0o7777;
        for (path, closed) in [("closed/deep/x", 0o000), ("closed/deep", 0o000), ("cache", 0o2775)] {
            fs::set_permissions(app.join(path), Permissions::from_mode(closed)).unwrap();
        }
        normalize_modes(&TreeHandle::open(&app).unwrap()).unwrap();
        assert_eq!([mode("closed/deep/x"), mode("closed/deep"), mode("closed")], [0o400, 0o700, 0o755]);
        assert_eq!([mode("cache"), mode("run.sh")], [0o775, 0o755]);
        assert!(app.join("out").is_symlink());
    }

    #[test]
    fn keeps_modes_and_links_and_follows_none() {
        let dir = tree();
        let (app, to) = (dir.path().join("app"), dir.path().join("to"));
        let leave = CopyExclusions::new([app.join("cache").as_path()]);
        let (tree, top) = (TreeHandle::open(&app).unwrap(), TreeHandle::open(dir.path()).unwrap());
        let need = measure_tree(&tree, &leave).unwrap();
        assert!(need.files >= 6);
        assert!(copy_tree(&tree, &top, "to", &leave, need).unwrap().is_empty());
        assert!(!to.join(".git").exists() && !to.join("cache").exists());
        assert_eq!(fs::read_link(to.join("out")).unwrap(), Path::new("/etc/passwd"));
        assert!(fs::symlink_metadata(to.join("closed/etc")).unwrap().is_symlink());
        assert_eq!(fs::metadata(to.join("run.sh")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::metadata(to.join("closed")).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::read(to.join("closed/deep/x")).unwrap(), b"x");
        assert_ne!(
            fs::metadata(to.join("run.sh")).unwrap().ino(),
            fs::metadata(app.join("run.sh")).unwrap().ino()
        );
    }
}
