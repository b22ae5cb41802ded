//! Dependency layers: built once, named by the hash of what determines them, never written again.
//!
//! `LAYERS/KEY/content/` is the layer, `LAYERS/KEY/complete` its marker, written last and never on the disk before the
//! content. A folder without the marker was left by a build that was killed: its content is thrown away and built again. Who
//! builds holds the kernel's lock on the folder `KEY` itself.

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

use anyhow::Context;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use piku_files::atomic_file;
use piku_files::remove_all;
use piku_files::{FileKind, TreeError, TreeHandle};
use piku_release::layers::{COMPLETE, CONTENT, is_same_folder, lock_layer};
use piku_report::progress;

use crate::native::native_search::{NativeSearch, record};
use crate::plan::build_plan::TreeLayer;
use crate::step::interrupt;
use crate::store::edition::LayerEditions;
use crate::tree::tree_layer;
use piku_release::machine::TargetMachine;

/// How often a lock that another build holds is asked for.
const PAUSE: Duration = Duration::from_millis(50);

/// The folder with the layers.
///
/// A layer that is in use is never written again. To have all of them built anew, the folder gets a new edition.
pub(crate) struct LayerStore {
    dir: PathBuf,
    editions: LayerEditions,
    /// The locks on the layers that were found: nobody removes them while the build goes on.
    held: RefCell<Vec<Flock<File>>>,
}

/// A layer that is being built; removed again unless it is finished.
pub(crate) struct UnfinishedLayer {
    dir: PathBuf,
    /// The same folder: what is in it the steps of the layer have written.
    around: TreeHandle,
    lock: Option<Flock<File>>,
}

/// Result of [`LayerStore::take`].
pub(crate) enum TakenLayer {
    /// The layer is there, whole.
    There,
    /// It is to be built, by nobody else meanwhile.
    Build(UnfinishedLayer),
}

impl LayerStore {
    /// The store in this folder, which may not be there yet. Its path has no links in it: a layer's own path is written
    /// into its scripts.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let dir = match fs::canonicalize(dir) {
            Ok(dir) => dir,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                std::path::absolute(dir).with_context(|| format!("cannot find '{}'", dir.display()))?
            }
            Err(err) => return Err(err).with_context(|| format!("cannot open '{}'", dir.display())),
        };
        let editions = LayerEditions::read(&dir)?;
        Ok(Self { dir, editions, held: RefCell::default() })
    }

    /// The same folder in an edition that nobody has seen: no layer is there, but for those that a lock determines unless
    /// `locked` says that they go too. It lasts when it is kept.
    #[must_use]
    pub(crate) fn anew(self, locked: bool) -> Self {
        Self { editions: self.editions.anew(locked), ..self }
    }

    /// Makes this edition the one that later builds find.
    pub(crate) fn keep_edition(&self) -> anyhow::Result<()> {
        self.editions.keep(&self.dir)
    }

    /// What goes into every key, of layers that a lock determines or of the others; nothing in the first edition.
    pub(crate) fn edition(&self, locked: bool) -> Option<&str> {
        self.editions.of(locked)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Where the content of a layer lies.
    pub(crate) fn content(&self, key: &str) -> PathBuf {
        self.dir.join(key).join(CONTENT)
    }

    /// The content of a layer that is there.
    ///
    /// # Errors
    /// When it is not there, or what lies there is no folder.
    pub(crate) fn tree(&self, key: &str) -> Result<TreeHandle, TreeError> {
        TreeHandle::open(&self.content(key))
    }

    /// Returns whether the layer is present and complete. A layer in whose place its steps have left a link, as older versions
    /// accepted it, is not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.dir.join(key).join(COMPLETE).is_file() && self.tree(key).is_ok()
    }

    /// Adds what binds a layer that is there to a kind of machine, from its marker, or by looking at its files.
    pub(crate) fn search(&self, key: &str, name: &str, search: &mut NativeSearch<'_>) -> anyhow::Result<()> {
        let marker = fs::read(self.dir.join(key).join(COMPLETE)).unwrap_or_default();
        match record::read(&String::from_utf8_lossy(&marker)) {
            Some(found) => {
                for file in found {
                    search.add(file.below(name));
                }
                Ok(())
            }
            None => search.tree(&self.tree(key)?, Path::new(name)),
        }
    }

    /// Notes that the layer is used now, for [`piku_release::layers::list_unused_for`].
    pub(crate) fn touch(&self, key: &str) -> anyhow::Result<()> {
        let marker = self.dir.join(key).join(COMPLETE);
        File::open(&marker)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .with_context(|| format!("cannot set the date of '{}'", marker.display()))
    }

    /// Removes a layer that nobody has been told of; the marker first.
    pub(crate) fn discard(&self, key: &str) -> anyhow::Result<()> {
        let dir = self.dir.join(key);
        let removed = match fs::remove_file(dir.join(COMPLETE)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => remove_all(&dir),
        };
        removed.with_context(|| format!("cannot remove '{}'", dir.display()))
    }

    /// Keeps a layer that is there, whole, from being removed for as long as this store is used. Whether it is there.
    pub(crate) fn hold(&self, key: &str) -> io::Result<bool> {
        if !self.has(key) {
            return Ok(false);
        }
        let dir = self.dir.join(key);
        match lock_layer(&dir, FlockArg::LockSharedNonblock)? {
            Some(lock) if is_same_folder(&lock, &dir) && self.has(key) => {
                self.held.borrow_mut().push(lock);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Finds the layer, or the right to build it in an empty folder. Waits for another build of the same layer.
    ///
    /// # Errors
    /// When the folder cannot be made, locked or emptied, or the build is interrupted.
    pub(crate) fn take(&self, key: &str) -> anyhow::Result<TakenLayer> {
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
            if self.has(key) || !is_same_folder(&lock, &dir) {
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
    /// Where the folder to build in lies, for a mount.
    pub(crate) fn content(&self) -> PathBuf {
        self.dir.join(CONTENT)
    }

    /// The folder to build in.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn tree(&self) -> Result<TreeHandle, TreeError> {
        self.around.subtree(CONTENT)
    }

    /// Refuses or rearranges what the steps of a layer that goes into the tree have left.
    pub(crate) fn settle(&self, layer: &TreeLayer) -> anyhow::Result<()> {
        tree_layer::settle(&self.around, CONTENT, layer)
    }

    /// Looks at its files for what binds it to a kind of machine, and marks the layer as whole. `about` is for whoever looks into
    /// the folder.
    pub(crate) fn finish_for(self, machine: &TargetMachine, about: &str) -> anyhow::Result<()> {
        let mut search = NativeSearch::new(machine);
        search.tree(&self.tree()?, Path::new(""))?;
        self.finish(&format!("{about}\n{}", record::write(&search)))
    }

    /// Marks the layer as whole.
    fn finish(mut self, about: &str) -> anyhow::Result<()> {
        let cannot = || format!("cannot finish the layer '{}'", self.dir.display());
        self.tree()?.write_out(None)?;
        atomic_file::write_ordered(&self.dir.join(COMPLETE), about.as_bytes(), 0o644).with_context(cannot)?;
        atomic_file::order_parent(&self.dir).with_context(cannot)?;
        self.lock = None;
        Ok(())
    }

    /// Throws away what is in the folder. It is moved first: a process of a killed build that is still alive goes on
    /// writing into what is thrown away, and not into the new layer.
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
            // Whatever stays has no marker: the next build removes it.
            let _ = self.empty();
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

/// The lock on a folder that is built in, as [`lock`]. The steps of the build inherit it: should the build be killed, the
/// layer is locked until the last of them has ended.
pub(crate) fn try_lock(dir: &Path) -> io::Result<Option<Flock<File>>> {
    let lock = lock_layer(dir, FlockArg::LockExclusiveNonblock)?;
    if let Some(lock) = &lock {
        fcntl(&**lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_release::layers::{list_unused, withdraw_layer};
    use std::collections::BTreeSet;

    fn build(store: &LayerStore, key: &str) -> UnfinishedLayer {
        match store.take(key).unwrap() {
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
        assert!(!store.has("k"));
        let unfinished = build(&store, "k");
        assert_eq!(fs::read_dir(unfinished.content()).unwrap().count(), 0);
        fs::write(unfinished.content().join("whole"), "").unwrap();
        unfinished.finish("test").unwrap();
        assert!(store.has("k") && matches!(store.take("k").unwrap(), TakenLayer::There));
        assert!(store.content("k").join("whole").exists());
        assert_eq!(fs::read_dir(store.path().join("k")).unwrap().count(), 2);

        // An operator has made room by hand.
        fs::remove_dir_all(store.content("k")).unwrap();
        drop(store);
        let store = LayerStore::new(&dir.path().join("layers")).unwrap();
        build(&store, "k").finish("test").unwrap();
        assert!(store.has("k"));
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
        assert!(!store.has("k") && store.tree("k").is_err());
        drop(store);
        let store = LayerStore::new(&dir.path().join("layers")).unwrap();
        build(&store, "k").finish("test").unwrap();
        assert!(store.has("k") && store.tree("k").unwrap().is_empty().unwrap());
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
        assert!(matches!(store.take("used").unwrap(), TakenLayer::There));
        let building = build(&store, "building");
        fs::write(store.path().join("edition"), "2").unwrap();
        let paths = ["building", "old", "used"].map(|key| store.path().join(key));
        assert_eq!(list_unused(store.path(), &needed).unwrap(), paths);
        assert!(withdraw_layer(&paths[0]).unwrap().is_none() && withdraw_layer(&paths[2]).unwrap().is_none());
        let gone = withdraw_layer(&paths[1]).unwrap().unwrap();
        assert!(gone.join(CONTENT).exists() && !store.has("old"));
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
                    if let TakenLayer::Build(unfinished) = store.take("k").unwrap() {
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
