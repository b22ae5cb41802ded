//! `export`: the tree of a commit, submodules included, as files. Whoever can push writes the tree, so nothing in it is
//! believed: no name, no link and no submodule may reach outside the new folder.

mod blobs;
mod link;
mod submodules;
mod tree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::{Commit, Repository};
use piku_files::{TreeHandle, remove_all};
use piku_layout::settings::HostSettings;
use piku_report::progress;
use piku_report::user_error::UserError;
use tempfile::TempDir;

use crate::client::quoted;
use crate::limits;
use crate::repository;
use tree::ExportWalk;

/// Writes the tree of `commit` in `repo` to `dir`, which must not be there or be empty: made aside and renamed in.
#[expect(clippy::disallowed_methods, reason = "a new folder is renamed to the place that the caller names")]
pub(crate) fn run(repo: &Path, commit: &str, dir: &Path, settings: &HostSettings) -> anyhow::Result<()> {
    limits::bound_memory().context("cannot bound this process's memory")?;
    let dir = std::path::absolute(dir).with_context(|| format!("bad path '{}'", dir.display()))?;
    if !may_be_made(&dir).with_context(|| format!("cannot look at '{}'", dir.display()))? {
        return Err(UserError::new(format!("'{}' is there and not an empty folder", dir.display())).into());
    }
    let opened = repository::open(repo)?;
    let commit = find(&opened, commit)?;
    let tree = commit.tree().map_err(repository::plain_error).context("cannot read the commit's tree")?;
    if tree.is_empty() {
        let failure = UserError::new(format!(
            "the commit {} holds no file",
            repository::short_commit(&commit.id().to_string())
        ));
        return Err(failure.hint("add the app's files: git add -A, git commit, git push").into());
    }
    let aside = aside(&dir).with_context(|| format!("cannot make a folder beside '{}'", dir.display()))?;
    let mut walk = ExportWalk::new(repo, TreeHandle::open(aside.path())?, settings);
    walk.root(&opened, &tree)?;
    if let Some(line) = walk.pointers() {
        progress::error(&line);
    }
    let made = aside.keep();
    fs::rename(&made, &dir).with_context(|| format!("cannot make '{}'", dir.display())).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = remove_all(&made);
    })
}

#[expect(clippy::disallowed_methods, reason = "the place that the caller names")]
fn may_be_made(dir: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(err) => Err(err),
        Ok(there) => Ok(there.is_dir() && TreeHandle::open(dir)?.is_empty()?),
    }
}

/// A folder beside `dir`, removed with all that is in it unless it is kept.
#[expect(clippy::disallowed_methods, reason = "the folder that the caller names, and a new one in it")]
fn aside(dir: &Path) -> io::Result<TempDir> {
    let parent: PathBuf = dir.parent().map(Path::to_owned).unwrap_or_default();
    fs::create_dir_all(&parent)?;
    let made = tempfile::Builder::new().prefix(".export.").tempdir_in(parent)?;
    // A tempfile's folder is its maker's alone; what is exported is read by builds, which may be other users.
    fs::set_permissions(made.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(made)
}

/// The commit of this name; a tag of one will do.
fn find<'r>(repo: &'r Repository, name: &str) -> anyhow::Result<Commit<'r>> {
    let found = repo.revparse_single(name).and_then(|object| object.peel_to_commit());
    found.map_err(|_| {
        let at = repo.path().display();
        UserError::new(format!("there is no commit {} in '{at}'", quoted(name))).into()
    })
}
