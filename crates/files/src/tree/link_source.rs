//! A tree of hard links to the files of an app's source.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use crate::source_index::{IndexContent, IndexEntry, IndexFolder};
use crate::tree::directory;
use crate::tree::error::TreeError;
use crate::tree::handle::TreeHandle;
use crate::tree::walk::WalkStep;

/// Number of threads that make links. The kernel makes links in different directories at the same time.
const THREADS: usize = 2;
/// Number of directories from which on more than one thread is worth its start.
const MANY: usize = 16;

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
        if folders.len() < MANY {
            return folders
                .iter()
                .try_fold(true, |all, (path, folder)| Ok(self.link_entries(folder, to, path)? && all));
        }
        let folders = Mutex::new(folders);
        let next = || folders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let link_all = || {
            let mut all = true;
            while let Some((path, folder)) = next() {
                all &= self.link_entries(folder, to, &path)?;
            }
            Ok(all)
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..THREADS).map(|_| scope.spawn(link_all)).collect();
            let panicked = || Err(self.error("link", "".as_ref(), io::Error::other("it panicked")));
            others.into_iter().fold(link_all(), |done, other| {
                let other = other.join().unwrap_or_else(|_| panicked());
                Ok(done? & other?)
            })
        })
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
        // The number of links to a file is limited, and not all file systems have links.
        Err(err)
            if matches!(
                err.kind(),
                io::ErrorKind::TooManyLinks
                    | io::ErrorKind::CrossesDevices
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::Unsupported
            ) =>
        {
            copy_entry(from, name, to).map(|()| false)
        }
        done => done.map(|()| true).map_err(|err| to.error("link", name.as_ref(), err)),
    }
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
        for number in 0..MANY + 3 {
            let below = IndexFolder { object: [0; 20], entries: vec![file("x", SourceKind::File)] };
            let name = format!("folder-{number}");
            fs::create_dir_all(at("source").join(&name)).unwrap();
            fs::write(at("source").join(&name).join("x"), "x").unwrap();
            entries.push(IndexEntry { name: name.into(), content: IndexContent::Folder(below) });
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
}
