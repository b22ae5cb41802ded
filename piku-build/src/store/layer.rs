//! Store of dependency layers. A layer is built once, named by the hash of its inputs, and never written
//! again.
//!
//! `LAYERS/KEY/content/` is the layer, `LAYERS/KEY/complete` its marker, which reaches the disk after the
//! content. A directory without marker belongs to a killed build and is built again. A build locks the
//! directory `KEY` itself.

#![expect(
    clippy::disallowed_methods,
    reason = "the store's own folders, markers and locks; what steps write is below `content`, behind its handle"
)]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use piku_files::{FileKind, FileLock, TreeError, TreeHandle, atomic_file, remove_all};
use piku_release::layers::{COMPLETE, CONTENT, is_same_folder, open_layer};
use piku_report::progress;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::native::native_search::{NativeSearch, record};
use crate::plan::build_plan::TreeLayer;
use crate::step::interrupt;
use crate::store::generation::LayerGenerations;
use crate::tree::tree_layer;
use piku_release::machine::TargetMachine;

/// Interval between attempts to lock a layer that another build holds.
const PAUSE: Duration = Duration::from_millis(50);

/// The directory of the layers. To have all layers built again, it gets a new generation.
pub(crate) struct LayerStore {
    dir: PathBuf,
    generations: LayerGenerations,
    /// Locks on the layers in use, so that they are not removed during the build.
    held: RefCell<Vec<FileLock>>,
}

/// A layer that is being built; removed again unless it is finished.
pub(crate) struct UnfinishedLayer {
    dir: PathBuf,
    /// Handle of the same directory; the steps of the layer have written its content.
    around: TreeHandle,
    lock: Option<FileLock>,
}

/// Result of [`LayerStore::find_or_lock`].
pub(crate) enum TakenLayer {
    /// The layer is complete.
    There,
    /// The caller must build it and holds its lock.
    Build(UnfinishedLayer),
}

impl LayerStore {
    /// Opens the store, whose directory may be missing. Its path is resolved, because a layer's path is
    /// written into its scripts.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let dir = match fs::canonicalize(dir) {
            Ok(dir) => dir,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                std::path::absolute(dir).with_context(|| format!("cannot find '{}'", dir.display()))?
            }
            Err(err) => return Err(err).with_context(|| format!("cannot open '{}'", dir.display())),
        };
        let generations = LayerGenerations::read(&dir)?;
        Ok(Self { dir, generations, held: RefCell::default() })
    }

    /// Returns the same store in a new generation, which contains no layers. Layers that a lock file
    /// determines stay unless `locked` is true. Call `keep_generation` to make it permanent.
    #[must_use]
    pub(crate) fn new_generation(self, locked: bool) -> Self {
        Self { generations: self.generations.next(locked), ..self }
    }

    /// Makes this generation permanent for later builds.
    pub(crate) fn keep_generation(&self) -> anyhow::Result<()> {
        self.generations.keep(&self.dir)
    }

    /// Returns the text that goes into every key, for layers that a lock file determines or for others;
    /// `None` in the first generation.
    pub(crate) fn generation(&self, locked: bool) -> Option<&str> {
        self.generations.key_text(locked)
    }

    /// Returns the store's directory.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Returns the path of a layer's files.
    pub(crate) fn content(&self, key: &str) -> PathBuf {
        self.dir.join(key).join(CONTENT)
    }

    /// Opens the content of a complete layer.
    ///
    /// # Errors
    /// Fails if it is missing or not a directory.
    pub(crate) fn tree(&self, key: &str) -> Result<TreeHandle, TreeError> {
        TreeHandle::open(&self.content(key))
    }

    /// Returns whether the layer is complete. A layer that its steps have replaced by a link, as older
    /// versions allowed, is not.
    pub(crate) fn is_complete(&self, key: &str) -> bool {
        self.dir.join(key).join(COMPLETE).is_file() && self.tree(key).is_ok()
    }

    /// Adds a complete layer's native files, from its marker or by reading its files.
    pub(crate) fn add_native_files(
        &self,
        key: &str,
        name: &str,
        search: &mut NativeSearch<'_>,
    ) -> anyhow::Result<()> {
        let marker = fs::read(self.dir.join(key).join(COMPLETE)).unwrap_or_default();
        match record::read(&String::from_utf8_lossy(&marker)) {
            Some(found) => {
                for file in found {
                    search.add(file.below(name));
                }
                Ok(())
            }
            None => search.add_tree(&self.tree(key)?, Path::new(name)),
        }
    }

    /// Notes that the layer is used now, for [`piku_release::layers::list_unused_for`].
    pub(crate) fn touch(&self, key: &str) -> anyhow::Result<()> {
        let marker = self.dir.join(key).join(COMPLETE);
        File::open(&marker)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .with_context(|| format!("cannot set the date of '{}'", marker.display()))
    }

    /// Removes a layer that no release uses yet, its marker first.
    pub(crate) fn discard(&self, key: &str) -> anyhow::Result<()> {
        let dir = self.dir.join(key);
        let removed = match fs::remove_file(dir.join(COMPLETE)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => remove_all(&dir),
        };
        removed.with_context(|| format!("cannot remove '{}'", dir.display()))
    }

    /// Protects a complete layer from removal as long as this store lives. Returns whether the layer is
    /// complete.
    pub(crate) fn hold(&self, key: &str) -> io::Result<bool> {
        if !self.is_complete(key) {
            return Ok(false);
        }
        let dir = self.dir.join(key);
        let Some(folder) = open_layer(&dir)? else { return Ok(false) };
        match FileLock::try_shared(folder)? {
            Some(lock) if is_same_folder(&lock, &dir) && self.is_complete(key) => {
                self.held.borrow_mut().push(lock);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Finds the layer, or locks an empty directory to build it. Waits while another build makes the same
    /// layer.
    ///
    /// # Errors
    /// Fails if the folder cannot be made, locked or emptied, or the build is interrupted.
    pub(crate) fn find_or_lock(&self, key: &str) -> anyhow::Result<TakenLayer> {
        let dir = self.dir.join(key);
        let cannot = || format!("cannot prepare the layer '{}'", dir.display());
        let mut said = false;
        loop {
            if self.hold(key).with_context(cannot)? {
                return Ok(TakenLayer::There);
            }
            interrupt::check()?;
            fs::create_dir_all(&dir).with_context(cannot)?;
            let Some(lock) = try_lock(&dir).with_context(cannot)? else {
                if !said {
                    progress::detail("waiting: another build is making the same layer");
                    said = true;
                }
                thread::sleep(PAUSE);
                continue;
            };
            // Its last holder may have finished it, or failed and removed the folder that is locked now.
            if self.is_complete(key) || !is_same_folder(&lock, &dir) {
                continue;
            }
            let around = TreeHandle::open(&dir)?;
            let unfinished = UnfinishedLayer { dir: dir.clone(), around, lock: Some(lock) };
            unfinished.empty()?;
            unfinished.around.create_dir(CONTENT)?;
            return Ok(TakenLayer::Build(unfinished));
        }
    }
}

impl UnfinishedLayer {
    /// Returns the path of the directory to build in, for a mount.
    pub(crate) fn content(&self) -> PathBuf {
        self.dir.join(CONTENT)
    }

    /// Returns the folder to build in.
    ///
    /// # Errors
    /// Fails if it is missing.
    pub(crate) fn tree(&self) -> Result<TreeHandle, TreeError> {
        self.around.subtree(CONTENT)
    }

    /// Removes what steps that failed have left, so that others can build the layer.
    pub(crate) fn start_again(&self) -> Result<(), TreeError> {
        self.empty()?;
        self.around.create_dir(CONTENT)
    }

    /// Checks and rearranges the results of the steps of a layer that goes into the app tree.
    pub(crate) fn check_steps(&self, layer: &TreeLayer) -> anyhow::Result<()> {
        tree_layer::check_steps(&self.around, CONTENT, layer)
    }

    /// Records the layer's native files and marks it as complete. `about` describes it for people.
    pub(crate) fn finish_for(self, machine: &TargetMachine, about: &str) -> anyhow::Result<()> {
        let tree = self.tree()?;
        let mut search = NativeSearch::new(machine);
        thread::scope(|scope| {
            let written = scope.spawn(|| tree.write_out(None));
            search.add_tree(&tree, Path::new(""))?;
            let written = written.join().map_err(|_| anyhow!("the thread that writes the layer panicked"))?;
            Ok::<_, anyhow::Error>(written?)
        })?;
        self.mark_complete(&format!("{about}\n{}", record::write(&search)))
    }

    /// Marks the layer as complete, whose files are on the disk.
    fn mark_complete(mut self, about: &str) -> anyhow::Result<()> {
        let cannot = || format!("cannot finish the layer '{}'", self.dir.display());
        atomic_file::write_ordered(&self.dir.join(COMPLETE), about.as_bytes(), 0o644).with_context(cannot)?;
        atomic_file::order_parent(&self.dir).with_context(cannot)?;
        self.lock.take().map_or(Ok(()), FileLock::unlock).with_context(cannot)
    }

    /// Removes the content. It is renamed first, so that a remaining process of a killed build does not write
    /// into the new layer.
    fn empty(&self) -> Result<(), TreeError> {
        for entry in self.around.read_dir("")? {
            let mut away = entry.name;
            if entry.kind == FileKind::Folder && away == CONTENT {
                let old = format!("old.{}", std::process::id()).into();
                self.around.rename(&away, &self.around, &old)?;
                away = old;
            }
            self.around.remove_all(&away)?;
        }
        Ok(())
    }
}

impl Drop for UnfinishedLayer {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // Files that stay have no marker; the next build removes them.
            let _ = self.empty();
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

/// Tries to lock a directory for a build; `None` if another process holds the lock or the directory is gone.
/// The steps of the build inherit the lock: if the build is killed, the layer stays locked until the last of
/// them has ended.
pub(crate) fn try_lock(dir: &Path) -> io::Result<Option<FileLock>> {
    let Some(folder) = open_layer(dir)? else { return Ok(None) };
    let lock = FileLock::try_exclusive(folder)?;
    if let Some(lock) = &lock {
        fcntl_setfd(lock, FdFlags::empty())?;
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_release::layers::{list_unused, withdraw_layer};
    use std::collections::BTreeSet;

    impl UnfinishedLayer {
        fn finish(self, about: &str) -> anyhow::Result<()> {
            self.finish_for(&TargetMachine::detect()?, about)
        }
    }

    fn build(store: &LayerStore, key: &str) -> UnfinishedLayer {
        match store.find_or_lock(key).unwrap() {
            TakenLayer::Build(unfinished) => unfinished,
            TakenLayer::There => panic!("{key} is there"),
        }
    }

    #[test]
    fn only_what_is_finished_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = LayerStore::new(&dir.path().join("layers")).unwrap();
        let unfinished = build(&store, "k");
        fs::write(unfinished.content().join("half"), "").unwrap();
        drop(unfinished);
        assert!(!store.path().join("k").exists(), "a failed layer leaves nothing");

        // Killed: nothing is dropped, the folder stays.
        fs::create_dir_all(store.content("k").join("sub")).unwrap();
        fs::write(store.content("k").join("half"), "").unwrap();
        assert!(!store.is_complete("k"));
        let unfinished = build(&store, "k");
        assert_eq!(fs::read_dir(unfinished.content()).unwrap().count(), 0);
        fs::write(unfinished.content().join("whole"), "").unwrap();
        unfinished.finish("test").unwrap();
        assert!(store.is_complete("k") && matches!(store.find_or_lock("k").unwrap(), TakenLayer::There));
        assert!(store.content("k").join("whole").exists());
        assert_eq!(fs::read_dir(store.path().join("k")).unwrap().count(), 2);

        // An operator has made room by hand.
        fs::remove_dir_all(store.content("k")).unwrap();
        drop(store);
        let store = LayerStore::new(&dir.path().join("layers")).unwrap();
        build(&store, "k").finish("test").unwrap();
        assert!(store.is_complete("k"));
    }

    #[test]
    fn a_link_in_place_of_a_layer_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = LayerStore::new(&dir.path().join("layers")).unwrap();
        build(&store, "k").finish("test").unwrap();
        fs::create_dir(dir.path().join("victim")).unwrap();
        fs::write(dir.path().join("victim/key"), "").unwrap();
        fs::remove_dir(store.content("k")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("victim"), store.content("k")).unwrap();
        assert!(!store.is_complete("k") && store.tree("k").is_err());
        drop(store);
        let store = LayerStore::new(&dir.path().join("layers")).unwrap();
        build(&store, "k").finish("test").unwrap();
        assert!(store.is_complete("k") && store.tree("k").unwrap().is_empty().unwrap());
        assert!(dir.path().join("victim/key").is_file());
    }

    #[test]
    fn what_nobody_uses_is_withdrawn() {
        let dir = tempfile::tempdir().unwrap();
        let store = LayerStore::new(&dir.path().join("layers")).unwrap();
        let needed = BTreeSet::from(["needed".to_owned()]);
        assert!(list_unused(store.path(), &needed).unwrap().is_empty());
        for key in ["needed", "used", "old"] {
            build(&store, key).finish("test").unwrap();
        }
        assert!(matches!(store.find_or_lock("used").unwrap(), TakenLayer::There));
        let building = build(&store, "building");
        fs::write(store.path().join("edition"), "2").unwrap();
        let paths = ["building", "old", "used"].map(|key| store.path().join(key));
        assert_eq!(list_unused(store.path(), &needed).unwrap(), paths);
        assert!(withdraw_layer(&paths[0]).unwrap().is_none() && withdraw_layer(&paths[2]).unwrap().is_none());
        let gone = withdraw_layer(&paths[1]).unwrap().unwrap();
        assert!(gone.join(CONTENT).exists() && !store.is_complete("old"));
        assert!(withdraw_layer(&paths[1]).unwrap().is_none());
        drop((store, building));
        assert!(withdraw_layer(&paths[2]).unwrap().is_some());
    }

    #[test]
    fn one_builds_and_the_others_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers");
        let built = std::sync::atomic::AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let store = LayerStore::new(&path).unwrap();
                    if let TakenLayer::Build(unfinished) = store.find_or_lock("k").unwrap() {
                        // The first one fails.
                        if built.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
                            unfinished.finish("test").unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(built.into_inner(), 2);
    }
}
