//! The directory in which a release is made, beside its final place, so that a rename publishes it at once. A
//! killed build leaves its directory behind. The next build finds it by its name, sees that no process holds
//! its lock, and removes it.

#![expect(clippy::disallowed_methods, reason = "the build's own folder beside the release")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::Uid;
use piku_files::{FileLock, TreeError, TreeHandle, remove_all};
use piku_release::layers::TOOLS;

/// Prefix of the names of work folders.
pub(crate) const PREFIX: &str = ".piku-build-";

/// Folder of the layers, if they lie beside the caches.
pub(crate) const LAYERS: &str = "layers";

/// A work folder, which is removed on drop.
pub(crate) struct WorkFolder {
    path: PathBuf,
    tree: TreeHandle,
    /// Held until the folder is removed.
    _lock: FileLock,
}

impl WorkFolder {
    /// Removes the folders of killed builds in `parent` and creates a new one.
    pub(crate) fn new(parent: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(parent).with_context(|| format!("cannot make '{}'", parent.display()))?;
        // A new folder that is not locked yet looks abandoned, so no other build may remove folders
        // meanwhile.
        let parent_lock = File::open(parent)
            .and_then(FileLock::exclusive)
            .with_context(|| format!("cannot lock '{}'", parent.display()))?;
        remove_abandoned(parent).with_context(|| format!("cannot clean '{}'", parent.display()))?;
        let made = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a folder in '{}'", parent.display()))?;
        let lock = File::open(made.path())
            .and_then(FileLock::exclusive)
            .with_context(|| format!("cannot lock '{}'", made.path().display()))?;
        drop(parent_lock);
        let tree = TreeHandle::open(made.path())?;
        Ok(Self { path: made.keep(), tree, _lock: lock })
    }

    /// Returns the path of `name` in the folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the folder, with the trees that steps write in it.
    pub(crate) fn tree(&self) -> &TreeHandle {
        &self.tree
    }

    /// Returns the folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // The next build removes what cannot be removed now.
        let _ = remove_all(&self.path);
    }
}

fn remove_abandoned(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !entry.file_type()?.is_dir() {
            continue;
        }
        // In a shared directory such as `/tmp`, folders of other users stay.
        if entry.metadata()?.uid() != Uid::effective().as_raw() {
            continue;
        }
        match File::open(entry.path()).and_then(FileLock::try_exclusive) {
            Ok(Some(_lock)) => remove_all(&entry.path())?,
            Ok(None) => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// Moves each cache in `fresh` to its name in `caches`. Old caches move to the new directory `away`, which
/// the caller removes.
pub(crate) fn replace_caches(caches: &Path, fresh: &Path, away: &Path) -> Result<(), TreeError> {
    let (caches, fresh, away) =
        (TreeHandle::open(caches)?, TreeHandle::open(fresh)?, TreeHandle::create(away)?);
    for entry in fresh.read_dir("")? {
        clear(&caches, &entry.name, &away)?;
        match fresh.rename(&entry.name, &caches, &entry.name) {
            // If the cache is on another file system, the next build fetches the files again.
            Err(err) if err.kind() == io::ErrorKind::CrossesDevices => {}
            done => done?,
        }
    }
    Ok(())
}

/// Removes the build caches, but not the layers and tools that may lie beside them.
pub(crate) fn remove_caches(caches: &Path) -> Result<(), TreeError> {
    let caches = TreeHandle::open(caches)?;
    for entry in caches.read_dir("")? {
        if entry.name != LAYERS && entry.name != TOOLS {
            caches.remove_all(&entry.name)?;
        }
    }
    Ok(())
}

fn clear(caches: &TreeHandle, name: &OsStr, away: &TreeHandle) -> Result<(), TreeError> {
    match caches.rename(name, away, name) {
        Err(err) if err.is_missing() => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::CrossesDevices => caches.remove_all(name),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_what_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("{PREFIX}old"));
        fs::create_dir_all(left.join("sub")).unwrap();
        fs::create_dir(dir.path().join("mine")).unwrap();
        let theirs = dir.path().join(format!("{PREFIX}theirs"));
        fs::create_dir(&theirs).unwrap();
        let given_away = std::os::unix::fs::chown(&theirs, Some(65534), None).is_ok();
        let first = WorkFolder::new(dir.path()).unwrap();
        assert!(!left.exists());
        // Only root can give a folder away.
        assert_eq!(theirs.exists(), given_away);
        remove_all(&theirs).unwrap();
        let second = WorkFolder::new(dir.path()).unwrap();
        assert!(first.path().exists() && second.path().exists());
        drop((first, second));
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["mine"]);
    }

    #[test]
    fn new_caches_take_the_place_of_old_ones_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for file in ["caches/pip/old", "caches/npm/old", "fresh/pip/new", "fresh/go/new"] {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), "").unwrap();
        }
        replace_caches(&at("caches"), &at("fresh"), &at("away")).unwrap();
        for (file, is_there) in [("pip/old", false), ("pip/new", true), ("go/new", true), ("npm/old", true)] {
            assert_eq!(at("caches").join(file).exists(), is_there, "{file}");
        }
    }
}
