//! `export`: writes the tree of a commit with its submodules. The tree is hostile: no name, link or
//! submodule may reach outside of the new directory.

mod blobs;
mod count;
mod entry;
mod fetch_access;
mod link;
mod pointers;
mod submodules;
mod tree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::{Commit, Repository, Tree};
use piku_files::source_index::{FOLDER_MODE, IndexFolder};
use piku_files::{FileLock, NewFiles, TreeHandle, remove_all};
use piku_layout::git_history::short_commit;
use piku_layout::settings::HostSettings;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};
use tempfile::TempDir;

use crate::client::quoted;
use crate::limits;
use crate::repository;
use tree::ExportWalk;

/// The state of the directory of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportMode {
    /// The directory must be missing or empty. The tree is written to a temporary one and renamed.
    New,
    /// The directory belongs to piku, which has perhaps exported another commit to it: it becomes the new
    /// commit's tree, and its index is written.
    Update,
}

/// Limits and access of an export.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExportOptions {
    /// Settings with the limits.
    pub(crate) settings: HostSettings,
    /// `config.json` of the app, with the key for private submodules.
    pub(crate) config: Option<PathBuf>,
}

/// Writes the tree of `commit` in `repo` to `dir`.
pub(crate) fn export_commit(
    repo: &Path,
    commit: &str,
    dir: &Path,
    mode: ExportMode,
    options: &ExportOptions,
) -> anyhow::Result<()> {
    limits::bound_memory().context("cannot bound this process's memory")?;
    let dir = std::path::absolute(dir).with_context(|| format!("bad path '{}'", dir.display()))?;
    if mode == ExportMode::New
        && !is_missing_or_empty(&dir).with_context(|| format!("cannot look at '{}'", dir.display()))?
    {
        return Err(
            UserError::new(format!("'{}' exists and is not an empty directory", dir.display())).into()
        );
    }
    let opened = repository::open(repo)?;
    let commit = find_commit(&opened, commit)?;
    let tree = commit.tree().map_err(repository::plain_error).context("cannot read the commit's tree")?;
    if tree.is_empty() {
        let failure = UserError::new(format!(
            "the commit {} contains no files",
            short_commit(&commit.id().to_string())
        ));
        return Err(failure.hint("add the app's files: git add -A, git commit, git push").into());
    }
    let walk = |top, written| ExportWalk::new(repo, top, options, written);
    match mode {
        ExportMode::New => write_new(&opened, &tree, &dir, |top| walk(top, None)),
        ExportMode::Update => update(&opened, &tree, &dir, |top| walk(top, Some(NewFiles::default()))),
    }
}

/// Writes a tree to a new directory.
#[expect(clippy::disallowed_methods, reason = "a new directory is renamed to the path that the caller names")]
fn write_new(
    repo: &Repository,
    tree: &Tree<'_>,
    dir: &Path,
    walk: impl FnOnce(TreeHandle) -> ExportWalk,
) -> anyhow::Result<()> {
    let aside = create_temporary_dir(dir)
        .with_context(|| format!("cannot create a directory beside '{}'", dir.display()))?;
    let mut walk = walk(TreeHandle::open(aside.path())?);
    walk.write_root(repo, tree, None)?;
    warn_of_pointers(&walk);
    let made = aside.keep();
    fs::rename(&made, dir).with_context(|| format!("cannot create '{}'", dir.display())).inspect_err(|_| {
        // The first error is reported.
        let _ = remove_all(&made);
    })
}

/// Writes a tree over that of an earlier export. If it fails, the index still tells which of the files are
/// those that it lists.
#[expect(clippy::disallowed_methods, reason = "piku's own directory, in that of the app")]
fn update(
    repo: &Repository,
    tree: &Tree<'_>,
    dir: &Path,
    walk: impl FnOnce(TreeHandle) -> ExportWalk,
) -> anyhow::Result<()> {
    let cannot = || format!("cannot prepare '{}'", dir.display());
    if TreeHandle::open(dir).is_err() {
        remove_all(dir).with_context(cannot)?;
        fs::create_dir_all(dir).with_context(cannot)?;
    }
    let top = TreeHandle::open(dir)?;
    let lock = FileLock::try_exclusive(top.clone()).with_context(cannot)?;
    let _lock = lock.ok_or_else(|| {
        UserError::new(format!("'{}' is being written just now", dir.display())).hint("try again").code(BUSY)
    })?;
    // Builds of other users read it.
    top.set_mode("", FOLDER_MODE)?;
    let old = IndexFolder::read(dir);
    if old.is_none() {
        for there in top.read_dir("")? {
            top.remove_all(&there.name)?;
        }
    }
    let mut walk = walk(top);
    let index = walk.write_root(repo, tree, old.as_ref())?;
    walk.write_out()?;
    warn_of_pointers(&walk);
    if old.as_ref() == Some(&index) {
        return Ok(());
    }
    index.write(dir).with_context(|| format!("cannot write the index of '{}'", dir.display()))
}

fn warn_of_pointers(walk: &ExportWalk) {
    if let Some(line) = walk.pointers.warning() {
        progress::error(&line);
    }
}

#[expect(clippy::disallowed_methods, reason = "the path that the caller names")]
fn is_missing_or_empty(dir: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(err) => Err(err),
        Ok(there) => Ok(there.is_dir() && TreeHandle::open(dir)?.is_empty()?),
    }
}

/// Creates a directory beside `dir` that is removed on drop.
#[expect(clippy::disallowed_methods, reason = "the directory that the caller names, and a new one in it")]
fn create_temporary_dir(dir: &Path) -> io::Result<TempDir> {
    let parent: PathBuf = dir.parent().map(Path::to_owned).unwrap_or_default();
    fs::create_dir_all(&parent)?;
    let made = tempfile::Builder::new().prefix(".export.").tempdir_in(parent)?;
    // Builds of other users read it; `tempfile` gives it to its owner only.
    fs::set_permissions(made.path(), std::os::unix::fs::PermissionsExt::from_mode(FOLDER_MODE))?;
    Ok(made)
}

/// Finds a commit by its name or by a tag.
fn find_commit<'r>(repo: &'r Repository, name: &str) -> anyhow::Result<Commit<'r>> {
    let found = repo.revparse_single(name).and_then(|object| object.peel_to_commit());
    found.map_err(|_| {
        let at = repo.path().display();
        UserError::new(format!("cannot find commit {} in '{at}'", quoted(name))).into()
    })
}
