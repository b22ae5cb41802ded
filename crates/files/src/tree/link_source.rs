//! A tree of hard links to the files of an app's source.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::parallel::{MANY_FOLDERS, THREADS, work_on_all};
use crate::source_index::{IndexContent, IndexEntry, IndexFolder};
use crate::tree::directory;
use crate::tree::error::TreeError;
use crate::tree::handle::TreeHandle;
use crate::tree::walk::WalkStep;

impl TreeHandle {
    /// Fills the empty tree `to` with the entries that `index` lists: new directories with hard links to the
    /// files and symlinks of this tree. Where the file system makes no link, the file is copied. Returns
    /// whether all are links.
    ///
    /// This tree belongs to piku: names are not checked to lead to the files that the index was made from.
    ///
    /// # Errors
    /// Fails if an entry is missing, `to` is not empty, or the disk is full.
    pub fn link_source(&self, index: &IndexFolder, to: &Self) -> Result<bool, TreeError> {
        let mut folders = Vec::new();
        create_folders(index, to, &mut PathBuf::new(), &mut folders)?;
        let threads = if folders.len() < MANY_FOLDERS { 1 } else { THREADS };
        let has_copies = AtomicBool::new(false);
        let link = |(path, folder): (PathBuf, &IndexFolder)| {
            if !self.link_entries(folder, to, &path)? {
                has_copies.store(true, Ordering::Relaxed);
            }
            Ok(())
        };
        work_on_all(folders, threads, link, |err| self.error("link", "".as_ref(), err))?;
        Ok(!has_copies.into_inner())
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

    /// Links the files of the directory `path`. Returns whether all are links.
    fn link_entries(&self, index: &IndexFolder, to: &Self, path: &Path) -> Result<bool, TreeError> {
        let (from, to) = (self.subtree(path)?, to.subtree(path)?);
        index
            .entries
            .iter()
            .filter(|entry| matches!(entry.content, IndexContent::File(_)))
            .try_fold(true, |all, entry| Ok(link_entry(&from, entry, &to)? && all))
    }
}

/// Creates the directories of `index`, the first of which is `path`, and lists them all.
fn create_folders<'a>(
    index: &'a IndexFolder,
    to: &TreeHandle,
    path: &mut PathBuf,
    found: &mut Vec<(PathBuf, &'a IndexFolder)>,
) -> Result<(), TreeError> {
    found.push((path.clone(), index));
    for entry in &index.entries {
        let IndexContent::Folder(below) = &entry.content else { continue };
        path.push(entry.os_name());
        to.create_dir(&path)?;
        create_folders(below, to, path, found)?;
        path.pop();
    }
    Ok(())
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

fn copy_entry(from: &TreeHandle, name: &std::ffi::OsStr, to: &TreeHandle) -> Result<(), TreeError> {
    let stat = from.symlink_metadata(name)?;
    if stat.is_symlink() {
        return to.symlink(from.read_link(name)?, name);
    }
    from.copy_file(name, to, name, stat.len)?;
    to.set_modified(name, stat.modified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_index::{FileMark, IndexFile, SourceKind};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
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
        assert!(source.link_source(&index, &made).unwrap());
        let inode = |path: &str| fs::symlink_metadata(at(path)).unwrap().ino();
        for path in ["run", "out", "folder-0/x", "folder-18/x"] {
            assert_eq!(inode(&format!("source/{path}")), inode(&format!("made/{path}")), "{path}");
        }
        assert_eq!(fs::metadata(at("secret")).unwrap().nlink(), 1);
        assert!(source.link_source(&index, &made).is_err(), "it is not empty");

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
        let is_linked = source.link_source(&IndexFolder { object: [0; 20], entries }, &made).unwrap();
        let about = |dir: &tempfile::TempDir| fs::metadata(dir.path().join("run")).unwrap();
        let (before, after) = (about(&dir), about(&memory));
        assert_eq!(is_linked, before.dev() == after.dev(), "a link leads to no other file system");
        assert_eq!((before.mode(), before.modified().unwrap()), (after.mode(), after.modified().unwrap()));
        assert_eq!(fs::read_to_string(memory.path().join("run")).unwrap(), "run");
        assert_eq!(fs::read_link(memory.path().join("out")).unwrap(), Path::new("nowhere"));
    }
}
