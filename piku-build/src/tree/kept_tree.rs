//! A work tree that stays from build to build, for compilers that see by the dates of files what has changed:
//! `CACHE/work/NAME/`. Before the steps it becomes the new commit's tree file by file, and a file that is the
//! same stays as it is, with its date; what the compiler itself has made stays too, in folders that the
//! runtime names.
//!
//! Dates tell what has changed only while the clock goes forward: what was made when it was ahead would hide
//! every change until then. A tree of the last build that ended later than it is now is thrown away, and so
//! is one whose clock went back meanwhile.
//!
//! `tree/` is the work tree. `busy` says that steps are under way: a build that finds it came after one that
//! was killed, and what that one half wrote is thrown away with all else. `made-by` says which compiler made
//! what is there, and by its date when, `sources` which files were the commit's.

#![expect(
    clippy::disallowed_methods,
    reason = "the marks and the lock around a work tree are piku's own; the tree itself is behind its handle"
)]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use piku_files::{CopyLimit, FileKind, FileLock, TreeError, TreeHandle, WalkStep, atomic_file};
use piku_report::progress;

use crate::step::interrupt;
use crate::store::layer::try_lock;
use crate::tree::hard_link;

/// Directory of the trees in the cache.
const FOLDER: &str = "work";
const TREE: &str = "tree";
const BUSY: &str = "busy";
const MADE_BY: &str = "made-by";
const SOURCES: &str = "sources";
/// Interval between attempts to lock a tree that another build holds.
const PAUSE: Duration = Duration::from_millis(50);

/// Directories of a tree that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptFolders {
    /// Names of the directories, at any depth, that the compiler writes: `target`.
    pub(crate) folders: &'static [&'static str],
    /// True if the compiler misses deleted sources. After a deletion, its whole output is removed too.
    pub(crate) forgets: bool,
}

/// An incremental tree, locked by this build.
pub(crate) struct KeptTree {
    /// Directory around the tree, which only piku writes.
    dir: PathBuf,
    tree: TreeHandle,
    begun: SystemTime,
    /// Handle of `dir`.
    around: TreeHandle,
    /// The steps inherit it: should the build be killed, the tree is locked until the last of them has ended.
    _lock: FileLock,
}

impl KeptTree {
    /// Opens the tree `name` in the cache and makes it equal to `source`, except for the kept directories.
    /// They are removed if `made_by`, the compiler and its settings, has changed.
    pub(crate) fn open_tree(
        cache: &Path,
        name: &str,
        made_by: &str,
        keep: KeptFolders,
        source: &TreeHandle,
    ) -> anyhow::Result<Self> {
        let begun = SystemTime::now();
        let dir = cache.join(FOLDER).join(name);
        let cannot = || format!("cannot prepare the work tree '{}'", dir.display());
        fs::create_dir_all(&dir).with_context(cannot)?;
        let lock = wait(&dir).with_context(cannot)?;
        let around = TreeHandle::open(&dir)?;
        let whole = !dir.join(BUSY).exists()
            && fs::read(dir.join(MADE_BY)).is_ok_and(|before| before == made_by.as_bytes())
            && fs::metadata(dir.join(MADE_BY))
                .and_then(|mark| mark.modified())
                .is_ok_and(|made| made <= begun);
        // A step has no way to swap the folder that it is shown.
        if !whole || around.find(TREE)?.is_none_or(|stat| !stat.is_dir()) {
            clear(&around)?;
        }
        // Must be on the disk before a step writes: a compiler may rewrite a file without changing its
        // directory.
        atomic_file::write_passing(&dir.join(BUSY), b"", 0o600).with_context(cannot)?;
        atomic_file::sync_parent(&dir.join(BUSY)).with_context(cannot)?;
        let before = fs::read(dir.join(SOURCES)).unwrap_or_default();
        let before = before.split(|byte| *byte == 0).map(|path| OsStr::from_bytes(path).into()).collect();
        let mut sync = TreeSync { keep, before, less: false };
        sync.folder(source, &around.subtree(TREE)?, Path::new(""), false).with_context(cannot)?;
        if sync.less && keep.forgets {
            clear(&around)?;
            sync.folder(source, &around.subtree(TREE)?, Path::new(""), false).with_context(cannot)?;
        }
        atomic_file::write_passing(&dir.join(SOURCES), &sources(source)?, 0o600).with_context(cannot)?;
        atomic_file::write_passing(&dir.join(MADE_BY), made_by.as_bytes(), 0o600).with_context(cannot)?;
        Ok(Self { dir, tree: around.subtree(TREE)?, begun, around, _lock: lock })
    }

    /// Returns the tree in which the steps run.
    pub(crate) fn tree(&self) -> &TreeHandle {
        &self.tree
    }

    /// Marks the tree as complete after the steps have ended. After a power cut the mark may return, but it
    /// is never lost while results stay.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        let busy = self.dir.join(BUSY);
        let now = SystemTime::now();
        if now < self.begun {
            return Ok(());
        }
        let made_by = self.dir.join(MADE_BY);
        File::open(&made_by)
            .and_then(|file| file.set_modified(now))
            .with_context(|| format!("cannot set the date of '{}'", made_by.display()))?;
        self.around.write_out(None)?;
        fs::remove_file(&busy).with_context(|| format!("cannot remove '{}'", busy.display()))
    }
}

/// Throws the tree away and begins an empty one.
fn clear(around: &TreeHandle) -> Result<(), TreeError> {
    around.remove_all(TREE)?;
    around.create_dir(TREE)
}

fn wait(dir: &Path) -> anyhow::Result<FileLock> {
    let mut said = false;
    loop {
        interrupt::check()?;
        if let Some(lock) = try_lock(dir)? {
            return Ok(lock);
        }
        if !said {
            progress::detail("waiting: another build is in the same work tree");
            said = true;
        }
        thread::sleep(PAUSE);
    }
}

/// Makes one tree equal to another. Steps have written into the older one, so nothing in it is trusted.
struct TreeSync {
    keep: KeptFolders,
    /// The paths in the tree that were sources before.
    before: HashSet<PathBuf>,
    /// True if a source was deleted since the last build.
    less: bool,
}

impl TreeSync {
    /// `below` is the path of both directories in their trees. If `made` is true it is inside a compiler's
    /// directory, where additional files stay.
    fn folder(&mut self, from: &TreeHandle, to: &TreeHandle, below: &Path, made: bool) -> anyhow::Result<()> {
        interrupt::check()?;
        to.set_mode("", from.metadata("")?.mode | 0o700)?;
        if !made {
            self.remove_deleted(from, to, below)?;
        }
        for entry in from.read_dir("")? {
            let name = &entry.name;
            match entry.kind {
                FileKind::Folder => {
                    if to.find(name)?.is_none_or(|there| !there.is_dir()) {
                        to.remove_all(name)?;
                        to.create_dir(name)?;
                    }
                    // A step may have closed it.
                    to.set_mode(name, 0o700)?;
                    let made = made || self.is_kept(name);
                    self.folder(&from.subtree(name)?, &to.subtree(name)?, &below.join(name), made)?;
                }
                FileKind::Link => link_file(from, to, name)?,
                FileKind::Regular => file(from, to, name)?,
                FileKind::Pipe | FileKind::Socket | FileKind::Device => {}
            }
        }
        Ok(())
    }

    fn is_kept(&self, name: &OsStr) -> bool {
        self.keep.folders.iter().any(|kept| name == *kept)
    }

    /// Removes from `to` what is missing in `from`, except for the compiler's directories.
    fn remove_deleted(&mut self, from: &TreeHandle, to: &TreeHandle, below: &Path) -> Result<(), TreeError> {
        for entry in to.read_dir("")? {
            let is_dir = entry.kind == FileKind::Folder;
            if from.find(&entry.name)?.is_some() || is_dir && self.is_kept(&entry.name) {
                continue;
            }
            // Other files of the compiler do not count as deleted sources.
            self.less |= is_dir || self.before.contains(&below.join(&entry.name));
            to.remove_all(&entry.name)?;
        }
        Ok(())
    }
}

/// Returns the paths of a tree's files, a NUL between them.
fn sources(tree: &TreeHandle) -> Result<Vec<u8>, TreeError> {
    let mut paths = Vec::new();
    tree.walk(|entry| {
        if !entry.stat().is_dir() {
            paths.extend_from_slice(entry.path().as_os_str().as_bytes());
            paths.push(0);
        }
        Ok::<_, TreeError>(WalkStep::Into)
    })?;
    Ok(paths)
}

fn link_file(from: &TreeHandle, to: &TreeHandle, name: &OsStr) -> Result<(), TreeError> {
    let target = from.read_link(name)?;
    if to.read_link(name).is_ok_and(|there| there == target) {
        return Ok(());
    }
    to.remove_all(name)?;
    to.symlink(target, name)
}

/// Updates a file. An equal one stays; a changed one gets the current time, because files of an older commit
/// are a change too.
fn file(from: &TreeHandle, to: &TreeHandle, name: &OsStr) -> anyhow::Result<()> {
    if let Ok(there) = to.open_file_nofollow(name) {
        if hard_link::has_same_content(&there, &from.open_file_nofollow(name)?)? {
            return Ok(());
        }
    }
    to.remove_all(name)?;
    Ok(from.copy_file(name, to, name, CopyLimit::NONE.bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct SyncedTrees(tempfile::TempDir);

    impl SyncedTrees {
        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn take(&self, made_by: &str, forgets: bool) -> KeptTree {
            let keep = KeptFolders { folders: &["target"], forgets };
            let new = TreeHandle::open(&self.0.path().join("new")).unwrap();
            KeptTree::open_tree(&self.0.path().join("cache"), "x", made_by, keep, &new).unwrap()
        }
    }

    fn age(path: &Path) -> std::time::SystemTime {
        fs::metadata(path).unwrap().modified().unwrap()
    }

    #[test]
    fn what_is_the_same_keeps_its_date_and_what_is_gone_goes() {
        let trees = SyncedTrees(tempfile::tempdir().unwrap());
        for name in ["new/a", "new/b", "new/sub/c", "new/old/d"] {
            trees.write(name, "1");
        }
        let kept = trees.take("1", false);
        let tree = kept.tree().path().to_owned();
        let date = age(&tree.join("a"));
        for made in ["target/x", "sub/target/y", "other/z"] {
            trees.write(&format!("cache/work/x/tree/{made}"), "made");
        }
        // What a hostile step may leave: a way out.
        fs::write(trees.0.path().join("outside"), "safe").unwrap();
        fs::remove_file(tree.join("b")).unwrap();
        symlink("../../../../outside", tree.join("b")).unwrap();
        fs::remove_dir_all(tree.join("sub")).unwrap();
        fs::create_dir(trees.0.path().join("away")).unwrap();
        symlink("../../../../away", tree.join("sub")).unwrap();
        kept.finish().unwrap();
        drop(kept);

        fs::remove_dir_all(trees.0.path().join("new/old")).unwrap();
        trees.write("new/sub/c", "2");
        let kept = trees.take("1", false);
        assert_eq!(age(&tree.join("a")), date);
        assert_eq!(fs::read_to_string(tree.join("b")).unwrap(), "1");
        assert_eq!(fs::read_to_string(tree.join("sub/c")).unwrap(), "2");
        assert_eq!(fs::read_to_string(trees.0.path().join("outside")).unwrap(), "safe");
        assert_eq!(fs::read_dir(trees.0.path().join("away")).unwrap().count(), 0);
        assert!(tree.join("target/x").exists() && !tree.join("old").exists() && !tree.join("other").exists());
        kept.finish().unwrap();
    }

    #[test]
    fn what_was_made_when_the_clock_was_ahead_is_thrown_away() {
        let trees = SyncedTrees(tempfile::tempdir().unwrap());
        let made = trees.0.path().join("cache/work/x/tree/target/x");
        let compile = || trees.write("cache/work/x/tree/target/x", "made");
        let day = Duration::from_secs(24 * 3600);
        trees.write("new/a", "1");
        trees.take("1", false).finish().unwrap();
        compile();
        assert!(made.exists());
        let mark = File::open(trees.0.path().join("cache/work/x/made-by")).unwrap();
        mark.set_modified(SystemTime::now() + 3650 * day).unwrap();
        let mut kept = trees.take("1", false);
        assert!(!made.exists());
        // The clock goes back while it compiles.
        compile();
        kept.begun = SystemTime::now() + 3650 * day;
        kept.finish().unwrap();
        drop(kept);
        let kept = trees.take("1", false);
        assert!(!made.exists());
        compile();
        kept.finish().unwrap();
        drop(kept);
        trees.take("1", false).finish().unwrap();
        assert!(made.exists());
    }

    #[test]
    fn what_cannot_be_trusted_is_thrown_away() {
        let trees = SyncedTrees(tempfile::tempdir().unwrap());
        let made = trees.0.path().join("cache/work/x/tree/target/x");
        let compile = || trees.write("cache/work/x/tree/target/x", "made");
        trees.write("new/a", "1");
        trees.write("new/b", "1");
        drop(trees.take("1", true));
        compile();
        // Killed: it was not settled.
        let kept = trees.take("1", true);
        assert!(!made.exists());
        compile();
        kept.finish().unwrap();
        drop(kept);
        let kept = trees.take("1", true);
        assert!(made.exists());
        kept.finish().unwrap();
        drop(kept);
        // Another compiler.
        let kept = trees.take("2", true);
        assert!(!made.exists());
        compile();
        kept.finish().unwrap();
        drop(kept);
        // What the compiler has written beside its folders goes, and nothing else.
        trees.write("cache/work/x/tree/beside", "made");
        let kept = trees.take("2", true);
        assert!(made.exists() && !kept.tree().path().join("beside").exists());
        kept.finish().unwrap();
        drop(kept);
        // A source less, and a compiler that does not see it.
        fs::remove_file(trees.0.path().join("new/b")).unwrap();
        let kept = trees.take("2", true);
        assert!(!made.exists() && kept.tree().path().join("a").exists());
    }
}
