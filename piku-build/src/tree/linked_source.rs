//! A release's tree of hard links to the files of the app's source, which `piku-receive export --update` keeps
//! from deploy to deploy. A release in a jail is read-only, and so are its links; but a step that writes into
//! the tree would write into the source and into older releases. Before the first such step, each file gets
//! a copy of its own.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use piku_files::free_space::SpaceNeeded;
use piku_files::source_index::IndexFolder;
use piku_files::{LinkRecord, TreeHandle};
use piku_release::removals;

use crate::tree::copy::{self, CopyExclusions};

/// Number of entries from which on a later build saves time by taking the tree.
const MANY_FILES: u64 = 500;

/// A tree of links as a build sees it.
pub(crate) struct LinkedSource {
    /// Files that begin as ELF files do, at their paths in the tree.
    natives: Vec<PathBuf>,
    /// Record of the links, if they are many.
    record: Option<LinkRecord>,
    /// True if every file of the tree is a link to one of the source, and so is on the disk.
    is_whole: Cell<bool>,
    /// True once each file has a copy of its own.
    is_separate: Cell<bool>,
}

impl LinkedSource {
    /// Makes the tree `to` links to the files of `source` that `index` lists. `to` is empty, or the tree of an older
    /// release with this record.
    pub(crate) fn link(
        source: &TreeHandle,
        index: &IndexFolder,
        to: &TreeHandle,
        old: &LinkRecord,
    ) -> anyhow::Result<Self> {
        let folders = SpaceNeeded::of(0) * index.count_folders();
        removals::check_space(to.path(), folders, "the app")?;
        // A copy is not on the disk yet.
        let record = source.link_source(index, to, old)?;
        let is_whole = record.is_some();
        let record = record.filter(|_| index.count_entries() >= MANY_FILES);
        let mut natives = Vec::new();
        index.visit_files(&mut |folder, name, file| {
            if file.is_native {
                natives.push(folder.join(name));
            }
        });
        Ok(Self { natives, record, is_whole: Cell::new(is_whole), is_separate: Cell::new(false) })
    }

    /// Records that the tree has other files than those of the source now.
    pub(crate) fn add_others(&self) {
        self.is_whole.set(false);
    }

    /// Gives each file of `tree` a copy of its own, because steps are about to write into it.
    pub(crate) fn separate(&self, tree: &TreeHandle) -> anyhow::Result<()> {
        self.is_whole.set(false);
        if self.is_separate.get() {
            return Ok(());
        }
        removals::check_space(tree.path(), copy::measure_tree(tree, &CopyExclusions::new([]))?, "the app")?;
        tree.separate_links()?;
        self.is_separate.set(true);
        Ok(())
    }

    /// Returns the record of the links if the tree has nothing else and a later build is to take it.
    pub(crate) fn record(&self) -> Option<&LinkRecord> {
        self.record.as_ref().filter(|_| self.is_whole())
    }

    /// Returns whether the tree has nothing but files of the source.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole.get()
    }

    /// Returns the files that begin as ELF files do; some may have been removed or renamed.
    pub(crate) fn natives(&self) -> impl Iterator<Item = &Path> {
        self.natives.iter().map(PathBuf::as_path)
    }
}
