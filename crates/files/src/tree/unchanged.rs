//! The comparison of a tree with the index of an app's source.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::parallel::{MANY_FOLDERS, THREADS, work_on_all};
use crate::source_index::{FOLDER_MODE, IndexContent, IndexEntry, IndexFolder};
use crate::tree::directory;
use crate::tree::error::TreeError;
use crate::tree::handle::TreeHandle;

impl TreeHandle {
    /// Returns true if this tree has exactly the entries that `index` lists, and none has changed since the index was
    /// made.
    ///
    /// # Errors
    /// Fails if a directory cannot be read.
    pub fn is_unchanged(&self, index: &IndexFolder) -> Result<bool, TreeError> {
        let mut folders = Vec::new();
        list_folders(index, &mut PathBuf::new(), &mut folders);
        let threads = if folders.len() < MANY_FOLDERS { 1 } else { THREADS };
        let is_unchanged = AtomicBool::new(true);
        let compare = |(path, folder): (PathBuf, &IndexFolder)| {
            // One difference is enough.
            if is_unchanged.load(Ordering::Relaxed) && !self.has_entries(folder, &path)? {
                is_unchanged.store(false, Ordering::Relaxed);
            }
            Ok(())
        };
        work_on_all(folders, threads, compare, |err| self.error("read", "".as_ref(), err))?;
        Ok(is_unchanged.into_inner())
    }

    /// Compares the entries of the directory `path`, without those of its subdirectories.
    fn has_entries(&self, index: &IndexFolder, path: &Path) -> Result<bool, TreeError> {
        let dir = match self.subtree(path) {
            Err(err) if err.is_missing() || err.leads_out() => return Ok(false),
            dir => dir?,
        };
        if dir.metadata("")?.mode != FOLDER_MODE {
            return Ok(false);
        }
        let is_same = |entry: &IndexEntry| {
            directory::stat(dir.as_fd(), entry.os_name()).is_ok_and(|stat| match &entry.content {
                IndexContent::Folder(_) => stat.is_dir(),
                IndexContent::File(file) => file.is_unchanged(&stat),
            })
        };
        // No two entries of an index have one name: if all are there and there are as many, there is no other.
        Ok(dir.count_entries()? == index.entries.len() && index.entries.iter().all(is_same))
    }
}

/// Lists the directories of `index`, the first of which is `path`.
fn list_folders<'a>(index: &'a IndexFolder, path: &mut PathBuf, found: &mut Vec<(PathBuf, &'a IndexFolder)>) {
    found.push((path.clone(), index));
    for entry in &index.entries {
        let IndexContent::Folder(below) = &entry.content else { continue };
        path.push(entry.os_name());
        list_folders(below, path, found);
        path.pop();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::source_index::{FileMark, IndexFile, SourceKind};
    use crate::tree::file_stat::FileKind;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Arc;

    /// Makes the index of a tree.
    pub(crate) fn index(dir: &Path) -> IndexFolder {
        let tree = TreeHandle::open(dir).unwrap();
        let entry = |there: super::super::FolderEntry| {
            let stat = tree.symlink_metadata(&there.name).unwrap();
            let (object, is_native, is_pointer) = ([0; 20], false, false);
            let kind = match stat.kind {
                FileKind::Link => SourceKind::Link,
                _ if stat.mode & 0o100 != 0 => SourceKind::Program,
                _ => SourceKind::File,
            };
            let content = if stat.is_dir() {
                IndexContent::Folder(Arc::new(index(&dir.join(&there.name))))
            } else {
                let mark = FileMark::of(&stat);
                IndexContent::File(IndexFile { object, kind, is_native, is_pointer, mark })
            };
            IndexEntry { name: there.name.into_encoded_bytes(), content }
        };
        // In another order than that of the directory.
        let entries = tree.read_dir("").unwrap().into_iter().rev().map(entry).collect();
        IndexFolder { object: [0; 20], entries }
    }

    #[test]
    fn each_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join("source").join(path);
        for number in 0..MANY_FOLDERS + 4 {
            fs::create_dir_all(at(&format!("{number}/deep"))).unwrap();
            fs::write(at(&format!("{number}/deep/file")), "one").unwrap();
        }
        for path in ["a", "a-b", "a/c"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        symlink("a", at("link")).unwrap();
        fs::write(at("run"), "#!").unwrap();
        let set_mode =
            |path: &str, mode| fs::set_permissions(at(path), Permissions::from_mode(mode)).unwrap();
        set_mode("run", 0o755);
        let source = at("");
        let tree = TreeHandle::open(&source).unwrap();
        let old = index(&source);
        assert!(tree.is_unchanged(&old).unwrap());
        let check = |what: &str| assert!(!tree.is_unchanged(&old).unwrap(), "{what}");
        fs::write(at("3/deep/new"), "").unwrap();
        check("a new file");
        fs::remove_file(at("3/deep/new")).unwrap();
        set_mode("7/deep", 0o700);
        check("the mode of a directory");
        set_mode("7/deep", 0o755);
        set_mode("run", 0o644);
        check("the mode of a file");
        set_mode("run", 0o755);
        fs::rename(at("a/c"), at("a/d")).unwrap();
        check("a renamed directory");
        fs::rename(at("a/d"), at("a/c")).unwrap();
        fs::rename(at("5"), at("../five")).unwrap();
        check("a missing directory");
        symlink("../five", at("5")).unwrap();
        check("a symlink in the place of a directory");
        fs::remove_file(at("5")).unwrap();
        fs::rename(at("../five"), at("5")).unwrap();
        assert!(tree.is_unchanged(&old).unwrap(), "all is as it was");
        fs::write(at("2/deep/file"), "two!").unwrap();
        check("the content of a file");
        let now = index(&source);
        fs::remove_file(at("link")).unwrap();
        symlink("a", at("link")).unwrap();
        assert!(!tree.is_unchanged(&now).unwrap(), "another symlink");
    }
}
