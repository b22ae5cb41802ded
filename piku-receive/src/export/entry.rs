//! The entries of a tree beside those that an earlier export has written in their places.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use anyhow::Context;
use git2::{Oid, Tree, TreeEntry};
use piku_files::source_index::{FOLDER_MODE, IndexContent, IndexFile, IndexFolder, ObjectName, SourceKind};
use piku_files::{FileKind, FolderEntry, TreeHandle};

use crate::client::quoted;

/// A directory that is being written.
pub(super) struct ExportFolder<'a> {
    pub(super) dir: &'a TreeHandle,
    /// Path: empty, or with a slash at its end.
    pub(super) path: &'a str,
    /// Number of slashes in the path.
    pub(super) depth: usize,
    /// The entry of an earlier export there.
    pub(super) old: Option<&'a IndexFolder>,
    /// True if the directory is empty.
    pub(super) is_new: bool,
}

/// An entry of a tree that is being written.
pub(super) struct NewEntry<'a> {
    pub(super) entry: &'a TreeEntry<'a>,
    pub(super) name: &'a OsStr,
    /// Path in the export.
    pub(super) path: &'a str,
    /// The entry of an earlier export there.
    pub(super) old: Option<&'a IndexContent>,
    /// Kind of the entry that is there.
    pub(super) present: Option<FileKind>,
}

impl NewEntry<'_> {
    fn old_file(&self) -> Option<&IndexFile> {
        match self.old {
            Some(IndexContent::File(old)) if old.object == self.entry.id().as_bytes() => Some(old),
            _ => None,
        }
    }

    /// Returns the directory that an earlier export has written and that is still there.
    pub(super) fn old_folder(&self) -> Option<&Arc<IndexFolder>> {
        match self.old {
            Some(IndexContent::Folder(old)) if self.present == Some(FileKind::Folder) => Some(old),
            _ => None,
        }
    }

    /// Returns the file that an earlier export has written, if it has not been changed since.
    pub(super) fn unchanged(&self, dir: &TreeHandle, kind: SourceKind) -> Option<&IndexFile> {
        self.present?;
        let old = self.old_file().filter(|old| old.kind == kind)?;
        dir.symlink_metadata(self.name).is_ok_and(|stat| old.is_unchanged(&stat)).then_some(old)
    }

    /// Returns the directory that an earlier export has written of the same tree, if nothing in it has been changed
    /// since.
    pub(super) fn unchanged_folder(&self, dir: &TreeHandle) -> Option<&Arc<IndexFolder>> {
        let old = self.old_folder().filter(|old| old.object == self.entry.id().as_bytes())?;
        // What cannot be compared is written again.
        dir.is_unchanged(old).unwrap_or(false).then_some(old)
    }

    /// Opens the directory, and creates it if it is missing or something else is in its place.
    pub(super) fn open_folder(&self, dir: &TreeHandle) -> anyhow::Result<TreeHandle> {
        let open = || -> anyhow::Result<TreeHandle> {
            if self.present == Some(FileKind::Folder) {
                let below = dir.subtree(self.name)?;
                if below.metadata("")?.mode != FOLDER_MODE {
                    below.set_mode("", FOLDER_MODE)?;
                }
                return Ok(below);
            }
            if self.present.is_some() {
                dir.remove_all(self.name)?;
            }
            dir.create_dir(self.name)?;
            Ok(dir.subtree(self.name)?)
        };
        open().with_context(|| format!("cannot write {}", quoted(self.path)))
    }

    pub(super) fn inner_folder<'a>(
        &'a self,
        dir: &'a TreeHandle,
        path: &'a str,
        depth: usize,
    ) -> ExportFolder<'a> {
        let is_new = self.present != Some(FileKind::Folder);
        ExportFolder { dir, path, depth: depth + 1, old: self.old_folder().map(AsRef::as_ref), is_new }
    }
}

/// Removes what is not in the tree, and returns what stays, sorted by name.
pub(super) fn remove_others(folder: &ExportFolder<'_>, tree: &Tree<'_>) -> anyhow::Result<Vec<FolderEntry>> {
    let mut present = folder.dir.read_dir("")?;
    let mut removed = Ok(());
    present.retain(|there| {
        let stays = tree.get_name_bytes(there.name.as_bytes()).is_some();
        if !stays && removed.is_ok() {
            removed = folder.dir.remove_all(&there.name);
        }
        stays
    });
    removed?;
    Ok(present)
}

/// Returns the name of an object as an index has it.
pub(super) fn object_name(id: Oid) -> ObjectName {
    let mut name = ObjectName::default();
    name.copy_from_slice(id.as_bytes());
    name
}
