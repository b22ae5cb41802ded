//! The tree of a new release, made from the app's folder: by links, by a move or by a copy.

use std::io;
use std::path::Path;

use anyhow::Context;
use piku_files::source_index::IndexFolder;
use piku_files::{LinkRecord, TreeHandle, remove_all};
use piku_release::manifest::TREE;
use piku_release::spare_tree;

use super::build_context::BuildContext;
use super::build_job::{BuildJob, RELEASE, SourceUse, preflight_command};
use crate::app::app_folder;
use crate::app::app_source::AppSource;
use crate::runtime::static_files;
use crate::tree::linked_source::LinkedSource;

/// The tree of a new release, before its steps.
pub(super) struct PlacedTree {
    pub(super) tree: TreeHandle,
    /// Its source, if its files are links.
    pub(super) linked: Option<LinkedSource>,
}

impl BuildJob {
    /// Places the files of the app's folder in the tree of the release. With `writes`, its steps will probably write to
    /// them.
    pub(super) fn place_tree(
        &self,
        bench: &BuildContext<'_>,
        source: &AppSource,
        writes: bool,
    ) -> anyhow::Result<PlacedTree> {
        let work = bench.work.tree();
        work.create_dir(RELEASE)?;
        let release = work.subtree(RELEASE)?;
        let linked = if writes || preflight_command(source).is_some() {
            None
        } else {
            self.link_tree(bench, source, &release)?
        };
        let is_moved = self.source == SourceUse::Move && move_tree(source.tree.path(), &release)?;
        if linked.is_none() && !is_moved {
            bench.copy(&source.tree, &release, TREE, "the app")?;
        }
        // If the app is a subdirectory, its siblings are removed.
        if self.source == SourceUse::Move {
            let pushed = &self.dir;
            remove_all(pushed).with_context(|| format!("cannot remove '{}'", pushed.display()))?;
        }
        let tree = release.subtree(TREE)?;
        app_folder::write_inherited(&tree, &source.shared)?;
        if let Some(linked) = linked.as_ref().filter(|_| !source.shared.is_empty()) {
            linked.add_others();
        }
        Ok(PlacedTree { tree, linked })
    }

    /// Makes the tree of hard links to the app's folder, if it is one that an export keeps. Without a jail, a
    /// process could write to the files.
    fn link_tree(
        &self,
        bench: &BuildContext<'_>,
        source: &AppSource,
        release: &TreeHandle,
    ) -> anyhow::Result<Option<LinkedSource>> {
        if self.source != SourceUse::Link || !bench.jailed {
            return Ok(None);
        }
        let dir = std::path::absolute(&self.dir)
            .with_context(|| format!("cannot find '{}'", self.dir.display()))?;
        let Some(index) = IndexFolder::read(&dir) else { return Ok(None) };
        let Some(index) = index.find(source.below.as_deref().unwrap_or(Path::new(""))) else {
            return Ok(None);
        };
        let link = |old: &LinkRecord| LinkedSource::link(&source.tree, index, &release.subtree(TREE)?, old);
        let recycle = self.recycle.as_deref().filter(|_| bench.takes_made);
        if let Some(old) = recycle.and_then(|dir| spare_tree::take(dir, release)) {
            // If that fails, its directories are made again.
            let _ = static_files::move_back(&release.subtree(TREE)?, index);
            let linked = link(&old);
            if linked.is_ok() {
                return linked.map(Some);
            }
            // Something is in the tree that cannot be removed or replaced: a new one does without.
        }
        release.remove_all(TREE)?;
        release.create_dir(TREE)?;
        link(&LinkRecord::default()).map(Some)
    }
}

/// Moves a tree where a rename can; else it is to be copied.
fn move_tree(dir: &Path, release: &TreeHandle) -> anyhow::Result<bool> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Ok(false) };
    match TreeHandle::open(parent)?.rename(name, release, TREE) {
        Ok(()) => {
            // git's own at the top: a folder, or a submodule's file.
            release.subtree(TREE)?.remove_all(".git")?;
            Ok(true)
        }
        Err(err) if err.kind() == io::ErrorKind::CrossesDevices => Ok(false),
        Err(err) => Err(err.into()),
    }
}
