//! A tree of hard links to the files of an app's source.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::link_record::{FolderMark, LinkRecord, has_folder_mode, hash_entries};
use crate::parallel::{MANY_FOLDERS, THREADS, work_on_all};
use crate::source_index::{FOLDER_MODE, FileMark, IndexContent, IndexEntry, IndexFolder};
use crate::tree::directory;
use crate::tree::error::TreeError;
use crate::tree::file_stat::FileKind;
use crate::tree::handle::TreeHandle;
use crate::tree::read::FolderEntry;
use crate::tree::walk::WalkStep;

/// More than a tick of any file system's clock. Two changes of a directory within one tick give it the same time.
const CLOCK_TICK: Duration = Duration::from_secs(2);

impl TreeHandle {
    /// Makes the tree `to` the entries that `index` lists: directories with hard links to the files and symlinks of
    /// this tree. `to` is empty, or a tree that `record` was made of: directories that have not changed since stay as
    /// they are, and of the others what is not in the index is removed. Where the file system makes no link, the file
    /// is copied. Returns the record of the tree; `None` if it has copies.
    ///
    /// This tree belongs to piku: names are not checked to lead to the files that the index was made from.
    ///
    /// # Errors
    /// Fails if an entry is missing, or the disk is full.
    pub fn link_source(
        &self,
        index: &IndexFolder,
        to: &Self,
        record: &LinkRecord,
    ) -> Result<Option<LinkRecord>, TreeError> {
        let mut folders =
            LinkedFolders { record, path: PathBuf::new(), unchanged: Vec::new(), tasks: Vec::new() };
        folders.prepare(index, to, to.is_empty()?)?;
        let LinkedFolders { unchanged, tasks, .. } = folders;
        let threads = if tasks.len() < MANY_FOLDERS { 1 } else { THREADS };
        let has_copies = AtomicBool::new(false);
        let made = Mutex::new(LinkRecord::default());
        let now = SystemTime::now();
        let before = now.checked_sub(CLOCK_TICK).unwrap_or(now);
        let link = |task: LinkTask<'_>| {
            let (is_linked, mark) = self.link_entries(&task, to, before)?;
            if !is_linked {
                has_copies.store(true, Ordering::Relaxed);
            }
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            made.insert(task.path, FolderMark { entries: task.entries, mark });
            Ok(())
        };
        work_on_all(tasks, threads, link, |err| self.error("link", "".as_ref(), err))?;
        let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (path, folder) in unchanged {
            made.insert(path, folder);
        }
        Ok((!has_copies.into_inner()).then_some(made))
    }

    /// Replaces each file that has several hard links by a copy of its own, with the same mode and time, so
    /// that it can be written.
    ///
    /// # Errors
    /// Fails if a file cannot be read or copied.
    pub fn separate_links(&self) -> Result<(), TreeError> {
        self.walk(|entry| {
            if entry.stat().is_file() && entry.stat().links > 1 {
                let stat = entry.stat();
                self.copy_file(entry.path(), self, entry.path(), stat.len)?;
                self.set_modified(entry.path(), stat.modified)?;
            }
            Ok(WalkStep::Into)
        })
    }

    /// Links the files that a directory lacks, and sets its time to `before`, which no later change gives it. Returns
    /// whether all are links, and the metadata of the directory.
    fn link_entries(
        &self,
        task: &LinkTask<'_>,
        to: &Self,
        before: SystemTime,
    ) -> Result<(bool, FileMark), TreeError> {
        let (from, to) = (self.subtree(&task.path)?, to.subtree(&task.path)?);
        let files = task.index.entries.iter().filter(|entry| matches!(entry.content, IndexContent::File(_)));
        let mut missing = files.filter(|entry| !task.present.contains(entry.name.as_slice()));
        let is_linked = missing.try_fold(true, |all, entry| Ok(link_entry(&from, entry, &to)? && all))?;
        let dated = directory::set_modified(to.as_fd(), OsStr::new("."), before);
        dated.map_err(|err| to.error("set the time of", "".as_ref(), err))?;
        Ok((is_linked, FileMark::of(&to.metadata("")?)))
    }
}

/// A directory whose files are to be linked.
struct LinkTask<'a> {
    path: PathBuf,
    index: &'a IndexFolder,
    /// Hash of what the index lists.
    entries: [u8; 32],
    /// Names that are there.
    present: HashSet<&'a [u8]>,
}

/// The directories of a tree that links are made in.
struct LinkedFolders<'a, 'r> {
    record: &'r LinkRecord,
    path: PathBuf,
    unchanged: Vec<(PathBuf, FolderMark)>,
    tasks: Vec<LinkTask<'a>>,
}

impl<'a> LinkedFolders<'a, '_> {
    /// Creates the directories of `index` in `to`, and removes from those that are there what is not in it.
    fn prepare(&mut self, index: &'a IndexFolder, to: &TreeHandle, is_new: bool) -> Result<(), TreeError> {
        let entries = hash_entries(index);
        let unchanged =
            if is_new { None } else { self.record.find_unchanged(&self.path, &entries, &to.metadata("")?) };
        let present = if is_new || unchanged.is_some() { HashSet::new() } else { remove_others(index, to)? };
        for entry in &index.entries {
            let IndexContent::Folder(below) = &entry.content else { continue };
            let name = entry.os_name();
            let is_there = unchanged.is_some() || present.contains(entry.name.as_slice());
            if !is_there {
                to.create_dir(name)?;
            }
            self.path.push(name);
            self.prepare(below, &to.subtree(name)?, !is_there)?;
            self.path.pop();
        }
        let path = self.path.clone();
        match unchanged {
            Some(folder) => self.unchanged.push((path, folder)),
            None => self.tasks.push(LinkTask { path, index, entries, present }),
        }
        Ok(())
    }
}

/// Removes from a directory what `index` does not list. Returns the names that stay.
fn remove_others<'a>(index: &'a IndexFolder, dir: &TreeHandle) -> Result<HashSet<&'a [u8]>, TreeError> {
    if !has_folder_mode(&dir.metadata("")?) {
        dir.set_mode("", FOLDER_MODE)?;
    }
    let listed: HashMap<_, _> = index.entries.iter().map(|entry| (entry.os_name(), entry)).collect();
    let mut present = HashSet::new();
    for FolderEntry { name, kind } in dir.read_dir("")? {
        let entry = listed.get(name.as_os_str());
        let stays = match entry.map(|entry| &entry.content) {
            Some(IndexContent::Folder(_)) => kind == FileKind::Folder,
            Some(IndexContent::File(file)) => file.is_unchanged(&dir.symlink_metadata(&name)?),
            None => false,
        };
        match entry.filter(|_| stays) {
            Some(entry) => drop(present.insert(entry.name.as_slice())),
            None => dir.remove_all(&name)?,
        }
    }
    Ok(present)
}

/// Links an entry, or copies it and returns false.
fn link_entry(from: &TreeHandle, entry: &IndexEntry, to: &TreeHandle) -> Result<bool, TreeError> {
    let name = entry.os_name();
    let linked = directory::check_name(name)
        .and_then(|()| directory::link_entry(from.as_fd(), name, to.as_fd(), name));
    match linked {
        Err(err) if is_link_refused(err.kind()) => copy_entry(from, name, to).map(|()| false),
        done => done.map(|()| true).map_err(|err| to.error("link", name.as_ref(), err)),
    }
}

/// Returns true if the kernel makes no link to a file: the number of links to it is limited, and not all file systems
/// have links, or between their directories.
#[must_use]
pub fn is_link_refused(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::TooManyLinks
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
    )
}

fn copy_entry(from: &TreeHandle, name: &OsStr, to: &TreeHandle) -> Result<(), TreeError> {
    let stat = from.symlink_metadata(name)?;
    if stat.is_symlink() {
        return to.symlink(from.read_link(name)?, name);
    }
    from.copy_file(name, to, name, stat.len)?;
    to.set_modified(name, stat.modified)
}

#[cfg(test)]
mod random_edits;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_index::{FileMark, IndexFile, SourceKind};
    use crate::tree::unchanged::tests::index;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;
    use std::sync::Arc;

    fn file(name: &str, kind: SourceKind) -> IndexEntry {
        let mark = FileMark { ino: 0, len: 0, modified: 0 };
        let file = IndexFile { object: [0; 20], kind, is_native: false, is_pointer: false, mark };
        IndexEntry { name: name.into(), content: IndexContent::File(file) }
    }

    #[test]
    fn files_and_symlinks_are_linked_and_separated_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let mut entries = vec![file("run", SourceKind::Program), file("out", SourceKind::Link)];
        for number in 0..MANY_FOLDERS + 3 {
            let below = IndexFolder { object: [0; 20], entries: vec![file("x", SourceKind::File)] };
            let name = format!("folder-{number}");
            fs::create_dir_all(at("source").join(&name)).unwrap();
            fs::write(at("source").join(&name).join("x"), "x").unwrap();
            entries.push(IndexEntry { name: name.into(), content: IndexContent::Folder(Arc::new(below)) });
        }
        fs::write(at("source/run"), "run").unwrap();
        fs::set_permissions(at("source/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("secret"), "secret").unwrap();
        symlink("../secret", at("source/out")).unwrap();
        let index = IndexFolder { object: [0; 20], entries };
        let source = TreeHandle::open(&at("source")).unwrap();
        let made = TreeHandle::create(&at("made")).unwrap();
        let none = LinkRecord::default();
        let record = source.link_source(&index, &made, &none).unwrap().unwrap();
        let inode = |path: &str| fs::symlink_metadata(at(path)).unwrap().ino();
        for path in ["run", "out", "folder-0/x", "folder-18/x"] {
            assert_eq!(inode(&format!("source/{path}")), inode(&format!("made/{path}")), "{path}");
        }
        assert_eq!(fs::metadata(at("secret")).unwrap().nlink(), 1);
        let again = source.link_source(&index, &made, &record).unwrap();
        assert_eq!(again, Some(record), "it is as it was");

        let before = fs::metadata(at("made/run")).unwrap();
        made.separate_links().unwrap();
        let after = fs::metadata(at("made/run")).unwrap();
        assert_ne!(before.ino(), after.ino());
        assert_eq!(
            (before.mode(), before.modified().unwrap(), after.nlink()),
            (after.mode(), after.modified().unwrap(), 1)
        );
        assert_ne!(inode("source/folder-3/x"), inode("made/folder-3/x"));
        assert_eq!(fs::read_link(at("made/out")).unwrap(), Path::new("../secret"));
    }

    #[test]
    fn an_older_tree_becomes_that_of_another_index() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let write = |path: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            // As an export does: never into a file that is linked elsewhere.
            let _ = fs::remove_file(at(path));
            fs::write(at(path), path).unwrap();
        };
        let same: Vec<_> = (0..MANY_FOLDERS + 3).map(|number| format!("source/same/{number}/x")).collect();
        for path in &same {
            write(path);
        }
        for path in ["a/x", "a/y", "gone/x", "file", "folder/x", "edited/x", "swapped/x", "closed/x"] {
            write(&format!("source/{path}"));
        }
        symlink("a/x", at("source/link")).unwrap();
        let source = TreeHandle::open(&at("source")).unwrap();
        let made = TreeHandle::create(&at("made")).unwrap();
        let old = source.link_source(&index(&at("source")), &made, &LinkRecord::default()).unwrap().unwrap();

        fs::remove_dir_all(at("source/gone")).unwrap();
        fs::remove_file(at("source/file")).unwrap();
        fs::remove_dir_all(at("source/folder")).unwrap();
        for path in ["a/x", "file/x", "folder", "new/deep/x"] {
            write(&format!("source/{path}"));
        }
        // By hand, in the tree that the record was made of.
        fs::remove_file(at("made/edited/x")).unwrap();
        fs::write(at("made/edited/x"), "other").unwrap();
        fs::write(at("made/edited/more"), "more").unwrap();
        fs::remove_dir_all(at("made/swapped")).unwrap();
        symlink("../source", at("made/swapped")).unwrap();
        fs::set_permissions(at("made/closed"), fs::Permissions::from_mode(0o700)).unwrap();

        let now = index(&at("source"));
        let record = source.link_source(&now, &made, &old).unwrap().unwrap();
        assert!(made.is_unchanged(&now).unwrap(), "the same names, inodes and modes");
        assert_eq!(source.link_source(&now, &made, &record).unwrap(), Some(record), "nothing is left to do");
        assert_eq!(fs::read_to_string(at("source/swapped/x")).unwrap(), "source/swapped/x");
        // With the record of another tree, too.
        assert!(source.link_source(&now, &made, &old).unwrap().is_some() && made.is_unchanged(&now).unwrap());
    }

    #[test]
    fn files_are_copied_where_no_link_can_be_made() {
        let (dir, Ok(memory)) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm")) else {
            return;
        };
        fs::write(dir.path().join("run"), "run").unwrap();
        fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("nowhere", dir.path().join("out")).unwrap();
        let entries = vec![file("run", SourceKind::Program), file("out", SourceKind::Link)];
        let source = TreeHandle::open(dir.path()).unwrap();
        let made = TreeHandle::open(memory.path()).unwrap();
        let index = IndexFolder { object: [0; 20], entries };
        let is_linked = source.link_source(&index, &made, &LinkRecord::default()).unwrap().is_some();
        let about = |dir: &tempfile::TempDir| fs::metadata(dir.path().join("run")).unwrap();
        let (before, after) = (about(&dir), about(&memory));
        assert_eq!(is_linked, before.dev() == after.dev(), "a link leads to no other file system");
        assert_eq!((before.mode(), before.modified().unwrap()), (after.mode(), after.modified().unwrap()));
        assert_eq!(fs::read_to_string(memory.path().join("run")).unwrap(), "run");
        assert_eq!(fs::read_link(memory.path().join("out")).unwrap(), Path::new("nowhere"));
    }
}
