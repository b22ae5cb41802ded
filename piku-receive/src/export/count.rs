//! The size of a tree, counted before anything is written.

use std::collections::HashMap;

use anyhow::Context;
use git2::{Oid, Repository, Tree, TreeEntry};
use piku_files::free_space::SpaceNeeded;
use piku_files::source_index::{IndexContent, IndexFile, IndexFolder, SourceKind};
use piku_report::user_error::UserError;

use super::blobs::LARGE;
use super::tree::{DEEPEST, unreadable_message};
use crate::repository;

/// Size of a tree.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TreeSize {
    /// Number of its entries, of any type and depth.
    pub(super) entries: u64,
    /// Space for those that an earlier export has not written.
    pub(super) need: SpaceNeeded,
}

/// Counts the trees of a repository.
pub(super) struct TreeCount<'r> {
    repo: &'r Repository,
    /// Size of each new object with everything below it.
    known: HashMap<Oid, TreeSize>,
    /// Sizes in bytes of the files above [`LARGE`], also of those that an earlier export has written: they
    /// may be gone.
    pub(super) large: HashMap<Oid, u64>,
}

impl<'r> TreeCount<'r> {
    pub(super) fn new(repo: &'r Repository) -> Self {
        Self { repo, known: HashMap::new(), large: HashMap::new() }
    }

    /// Returns the size of a tree, of which an earlier export may have written `old`.
    pub(super) fn tree_size(
        &mut self,
        tree: &Tree<'_>,
        old: Option<&IndexFolder>,
        depth: usize,
    ) -> anyhow::Result<TreeSize> {
        if depth > DEEPEST {
            return Err(too_deep().into());
        }
        if let Some(old) = old.filter(|old| old.object == tree.id().as_bytes()) {
            old.visit_files(&mut |_, _, file| self.add_large(file));
            return Ok(TreeSize { entries: old.count_entries(), need: SpaceNeeded::default() });
        }
        let olds = old.map(|old| old.by_name()).unwrap_or_default();
        let mut sum = TreeSize::default();
        for entry in tree {
            let old = olds.get(entry.name_bytes()).copied();
            let one = self.entry_size(&entry, old, depth)?;
            sum.entries = sum.entries.saturating_add(one.entries);
            sum.need += one.need;
        }
        Ok(sum)
    }

    fn add_large(&mut self, old: &IndexFile) {
        if let (true, Ok(id)) =
            (old.kind != SourceKind::Link && old.mark.len > LARGE, Oid::from_bytes(&old.object))
        {
            self.large.insert(id, old.mark.len);
        }
    }

    fn entry_size(
        &mut self,
        entry: &TreeEntry<'_>,
        old: Option<&IndexContent>,
        depth: usize,
    ) -> anyhow::Result<TreeSize> {
        let id = entry.id();
        let unreadable = || unreadable_message(&String::from_utf8_lossy(entry.name_bytes()));
        let folder = |need| TreeSize { entries: 1, need };
        let size = match (entry.filemode_raw() & 0o170_000, old) {
            (0o040_000, Some(IndexContent::Folder(old))) => {
                let tree =
                    self.repo.find_tree(id).map_err(repository::plain_error).with_context(unreadable)?;
                let mut size = self.tree_size(&tree, Some(old), depth + 1)?;
                size.entries = size.entries.saturating_add(1);
                return Ok(size);
            }
            (0o160_000, Some(IndexContent::Folder(_))) => return Ok(folder(SpaceNeeded::default())),
            (kind, Some(IndexContent::File(old)))
                if kind != 0o040_000 && kind != 0o160_000 && old.object == id.as_bytes() =>
            {
                self.add_large(old);
                return Ok(TreeSize { entries: 1, need: SpaceNeeded::default() });
            }
            _ if self.known.contains_key(&id) => return Ok(self.known[&id]),
            (0o040_000, _) => {
                let tree =
                    self.repo.find_tree(id).map_err(repository::plain_error).with_context(unreadable)?;
                let mut size = self.tree_size(&tree, None, depth + 1)?;
                size.entries = size.entries.saturating_add(1);
                size.need += SpaceNeeded::of(0);
                size
            }
            // A submodule is counted when it has been fetched.
            (0o160_000, _) => folder(SpaceNeeded::of(0)),
            _ => {
                let objects =
                    self.repo.odb().map_err(repository::plain_error).context("cannot read the repository")?;
                let (bytes, _) =
                    objects.read_header(id).map_err(repository::plain_error).with_context(unreadable)?;
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                if bytes > LARGE {
                    self.large.insert(id, bytes);
                }
                TreeSize { entries: 1, need: SpaceNeeded::of(bytes) }
            }
        };
        self.known.insert(id, size);
        Ok(size)
    }
}

/// Returns the error for directories that are nested too deep.
pub(super) fn too_deep() -> UserError {
    UserError::new(format!("the tree has folders deeper than {DEEPEST}"))
}
