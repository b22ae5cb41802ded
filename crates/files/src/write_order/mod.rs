//! Writes new files to the disk before anything that is synced later, without a sync of each file.
//!
//! A power cut may lose any change that was not synced. But a file system with an ordered journal (ext4,
//! XFS) never keeps a change without the earlier ones. There it is enough to write the *content* of new
//! files: the next sync of any file also writes their names, directories and lengths. On other file
//! systems each new file and each directory is synced. The whole file system is never synced, because that
//! would wait for the writes of all other processes.
//!
//! ext4 without a journal (`mkfs.ext4 -O ^has_journal`) keeps no order, and cannot even sync a symlink. It
//! is treated like any ext4.

mod sys;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{FsWord, fstatfs};

use crate::parallel::work_on_all;
use crate::tree::{FolderCursor, TreeEntry, TreeError, TreeHandle, WalkStep};

/// File systems that keep the order of changes.
const ORDERED: [FsWord; 2] = [EXT4, XFS];
const EXT4: FsWord = 0xef53;
const XFS: FsWord = 0x5846_5342;
/// Number of files that are open and written at the same time.
const MAX_OPEN: usize = 128;
/// Number of concurrent syncs, which share commits of the journal.
const THREADS: usize = 16;

/// Returns true if the file system of `fd` never writes a change to the disk before earlier ones.
pub fn keeps_order(fd: impl AsFd) -> bool {
    fstatfs(fd).is_ok_and(|about| ORDERED.contains(&about.f_type))
}

/// Writes the content of an open file to the disk before anything that is synced later.
///
/// # Errors
/// Fails if the disk does.
pub fn write_out(file: &File) -> io::Result<()> {
    if keeps_order(file) { wait_until_written(file) } else { file.sync_all() }
}

/// Writes the entries of a directory to the disk before anything that is synced later.
///
/// # Errors
/// Fails if the disk does.
pub(crate) fn order_folder(folder: &File) -> io::Result<()> {
    if keeps_order(folder) { Ok(()) } else { folder.sync_all() }
}

/// New files whose content is being written to the disk, many at a time, before anything that is synced
/// later.
#[derive(Debug, Default)]
pub struct NewFiles {
    begun: Vec<File>,
}

impl NewFiles {
    /// Begins to write a finished file.
    ///
    /// # Errors
    /// Fails if the disk does, perhaps with another file.
    pub fn add(&mut self, file: File) -> io::Result<()> {
        // Only starts the write: errors are reported when it ends.
        let _ = sys::begin_write(&file);
        self.begun.push(file);
        if self.begun.len() < MAX_OPEN { Ok(()) } else { self.finish() }
    }

    /// Waits until all files are written.
    ///
    /// # Errors
    /// Fails if the disk does.
    pub fn finish(&mut self) -> io::Result<()> {
        let files = std::mem::take(&mut self.begun);
        match files.first() {
            None => Ok(()),
            Some(file) if keeps_order(file) => files.iter().try_for_each(wait_until_written),
            Some(_) => work_on_all(files, THREADS, |file| file.sync_all(), |err| err),
        }
    }
}

fn wait_until_written(file: &File) -> io::Result<()> {
    // The kernel or a sandbox may not support the call.
    sys::wait_written(file).or_else(|_| file.sync_data())
}

impl TreeHandle {
    /// Writes the tree to the disk before anything that is synced later. Files that are hard links to the
    /// same path of the tree `old` are on the disk already.
    ///
    /// # Errors
    /// Fails if the tree cannot be read or the disk fails.
    pub fn write_out(&self, old: Option<&Self>) -> Result<(), TreeError> {
        let done = if keeps_order(self) { self.write_new(old) } else { self.sync_new(old) };
        match done {
            // The tree has a file that its owner cannot open: only a sync of the file system includes it.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => self.sync_file_system(),
            done => done,
        }
    }

    /// Begins to write the content of all files to the disk and does not wait. What is written early need not
    /// be waited for later; errors are reported then. The tree may change meanwhile.
    pub fn begin_write_out(&self) {
        let _ = self.walk(|entry| {
            if entry.stat().is_file() && entry.stat().len > 0 {
                if let Ok(file) = entry.open_file() {
                    let _ = sys::begin_write(&file.file);
                }
            }
            Ok::<_, TreeError>(WalkStep::Into)
        });
    }

    /// Writes the content of the new files, many at a time.
    fn write_new(&self, old: Option<&Self>) -> Result<(), TreeError> {
        let mut files = NewFiles::default();
        let cannot = |err| self.error("write out", "".as_ref(), err);
        let mut old = old.map(FolderCursor::new);
        self.walk(|entry| {
            if entry.stat().is_file() && entry.stat().len > 0 && !is_shared(&mut old, entry) {
                match entry.open_file() {
                    Err(err) if err.is_missing() => {}
                    opened => files.add(opened?.file).map_err(cannot)?,
                }
            }
            Ok::<_, TreeError>(WalkStep::Into)
        })?;
        files.finish().map_err(cannot)
    }

    /// Syncs the new files and all directories, many at a time, so that they share commits of the journal.
    fn sync_new(&self, old: Option<&Self>) -> Result<(), TreeError> {
        let panicked = |err| self.error("sync", "".as_ref(), err);
        work_on_all(self.new_entries(old)?, THREADS, |path| self.sync(path), panicked)
    }

    /// Returns the paths of new files and of all directories.
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

/// Returns true if the old tree has the same inode at the same path.
fn is_shared(old: &mut Option<FolderCursor<'_>>, entry: &TreeEntry<'_>) -> bool {
    let there = old.as_mut().and_then(|old| old.symlink_metadata(entry.path()).ok()?);
    there.is_some_and(|there| there.is_same(entry.stat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn shared_files_are_not_new() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        for file in ["old/a", "old/sub/b", "old/c", "new/c", "new/sub/d"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        // A second name in the new tree does not make a file shared.
        for (from, to) in [("old/a", "new/a"), ("old/sub/b", "new/sub/b"), ("new/c", "new/sub/e")] {
            fs::hard_link(dir.path().join(from), dir.path().join(to)).unwrap();
        }
        let [old, new] = [old, new].map(|path| TreeHandle::open(&path).unwrap());
        let mut names = new.new_entries(Some(&old)).unwrap();
        names.sort();
        assert_eq!(names, ["", "c", "sub", "sub/d", "sub/e"].map(PathBuf::from));
        new.begin_write_out();
        for old in [Some(&old), None] {
            new.write_new(old).unwrap();
            new.sync_new(old).unwrap();
            new.write_out(old).unwrap();
        }
    }

    #[test]
    fn more_files_than_are_open_at_a_time_are_written() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..MAX_OPEN * 2 + 3 {
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
