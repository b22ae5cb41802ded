//! Putting new files on the disk in order: before all that is synced later, and without a sync of their own.
//!
//! A power cut may leave any part of what was not synced. But a file system that journals its changes in order (ext4, XFS) never
//! keeps a later change without the earlier ones. There it is enough to write the *content* of new files out: whichever sync comes
//! next carries their names, folders and lengths with it, all at once. On any other file system each new file and each folder is
//! synced by itself. Nowhere is the whole file system synced: that waits for what everybody else writes meanwhile.
//!
//! ext4 without a journal (`mkfs.ext4 -O ^has_journal`) keeps no order, and nothing else either: not even a symbolic link can be
//! synced there. It is taken for an ext4 like any other.

mod sys;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use rustix::fs::{FsWord, fstatfs};

use crate::tree::{FolderCursor, TreeEntry, TreeError, TreeHandle, WalkStep};

/// The file systems that keep the order of changes.
const ORDERED: [FsWord; 2] = [EXT4, XFS];
const EXT4: FsWord = 0xef53;
const XFS: FsWord = 0x5846_5342;
/// So many files are written at a time: each is open for as long.
const AT_ONCE: usize = 128;
/// So many syncs wait at a time.
const THREADS: usize = 16;

/// Returns whether the file system of `fd` never has a change on the disk without those before it.
pub fn keeps_order(fd: impl AsFd) -> bool {
    fstatfs(fd).is_ok_and(|about| ORDERED.contains(&about.f_type))
}

/// Puts the content of an open file on the disk before all that is synced later.
///
/// # Errors
/// When the disk does not take it.
pub fn write_out(file: &File) -> io::Result<()> {
    if keeps_order(file) { written(file) } else { file.sync_all() }
}

/// Puts a folder's entries on the disk before all that is synced later.
///
/// # Errors
/// When the disk does not take them.
pub fn order_folder(folder: &File) -> io::Result<()> {
    if keeps_order(folder) { Ok(()) } else { folder.sync_all() }
}

fn written(file: &File) -> io::Result<()> {
    // A kernel, or a sandbox around this process, that has no such call.
    sys::wait_written(file).or_else(|_| file.sync_data())
}

impl TreeHandle {
    /// Puts all in the tree on the disk before all that is synced later. What it shares with the tree `old`, by hard links in the
    /// same places, is there already.
    ///
    /// # Errors
    /// When it cannot be read, or the disk does not take it.
    pub fn write_out(&self, old: Option<&Self>) -> Result<(), TreeError> {
        let done = if keeps_order(self) { self.write_new(old) } else { self.sync_new(old) };
        match done {
            // A step has left a file that not even its owner may open: nothing smaller reaches it.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => self.sync_file_system(),
            done => done,
        }
    }

    /// Writes the content of the new files out, many at a time.
    fn write_new(&self, old: Option<&Self>) -> Result<(), TreeError> {
        let mut begun = Vec::new();
        let cannot = |err| self.error("write out", "".as_ref(), err);
        let mut old = old.map(FolderCursor::new);
        self.walk(|entry| {
            if entry.stat().is_file() && entry.stat().len > 0 && !is_shared(&mut old, entry) {
                let file = match entry.open_file() {
                    Err(err) if err.is_missing() => return Ok(WalkStep::Into),
                    opened => opened?.file,
                };
                // Only to have it begin: what counts is the end.
                let _ = sys::begin_write(&file);
                begun.push(file);
            }
            if begun.len() >= AT_ONCE {
                begun.drain(..).try_for_each(|file| written(&file)).map_err(cannot)?;
            }
            Ok::<_, TreeError>(WalkStep::Into)
        })?;
        begun.iter().try_for_each(written).map_err(cannot)
    }

    /// Syncs the new files and all folders, many at a time: one after the other each would wait for a commit of its own.
    fn sync_new(&self, old: Option<&Self>) -> Result<(), TreeError> {
        let found = Mutex::new(self.new_entries(old)?);
        let next = || found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let sync = || {
            while let Some(path) = next() {
                self.sync(path)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(sync)).collect();
            threads.into_iter().try_for_each(|one| {
                let panicked = |_| Err(self.error("sync", "".as_ref(), io::Error::other("it panicked")));
                one.join().unwrap_or_else(panicked)
            })
        })
    }

    /// The files that are new, and all folders.
    fn new_entries(&self, old: Option<&Self>) -> Result<Vec<PathBuf>, TreeError> {
        let mut found = vec![PathBuf::new()];
        let mut old = old.map(FolderCursor::new);
        self.walk(|entry| {
            if entry.stat().is_dir() || entry.stat().is_file() && !is_shared(&mut old, entry) {
                found.push(entry.path().to_owned());
            }
            Ok::<_, TreeError>(WalkStep::Into)
        })?;
        Ok(found)
    }
}

/// Returns whether the old tree has the very file in the same place.
fn is_shared(old: &mut Option<FolderCursor<'_>>, entry: &TreeEntry<'_>) -> bool {
    let there = old.as_mut().and_then(|old| old.symlink_metadata(entry.path()).ok()?);
    there.is_some_and(|there| there.is_same(entry.stat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_shared_is_not_new() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        for file in ["old/a", "old/sub/b", "old/c", "new/c", "new/sub/d"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        // A name more for a file of its own is no reason to leave it out.
        for (from, to) in [("old/a", "new/a"), ("old/sub/b", "new/sub/b"), ("new/c", "new/sub/e")] {
            fs::hard_link(dir.path().join(from), dir.path().join(to)).unwrap();
        }
        let [old, new] = [old, new].map(|path| TreeHandle::open(&path).unwrap());
        let mut names = new.new_entries(Some(&old)).unwrap();
        names.sort();
        assert_eq!(names, ["", "c", "sub", "sub/d", "sub/e"].map(PathBuf::from));
        for old in [Some(&old), None] {
            new.write_new(old).unwrap();
            new.sync_new(old).unwrap();
            new.write_out(old).unwrap();
        }
    }

    #[test]
    fn more_files_than_are_open_at_a_time_are_written() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..AT_ONCE * 2 + 3 {
            fs::write(dir.path().join(number.to_string()), "x").unwrap();
        }
        fs::write(dir.path().join("empty"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        let tree = TreeHandle::open(dir.path()).unwrap();
        tree.write_new(None).unwrap();
        tree.sync_new(None).unwrap();
    }

    #[test]
    fn memory_keeps_no_order_and_each_file_is_synced() {
        let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
        let tree = TreeHandle::open(dir.path()).unwrap();
        assert!(!keeps_order(&tree));
        fs::write(dir.path().join("file"), "x").unwrap();
        tree.write_out(None).unwrap();
        let file = File::open(dir.path().join("file")).unwrap();
        write_out(&file).unwrap();
        order_folder(&File::open(dir.path()).unwrap()).unwrap();
    }
}
