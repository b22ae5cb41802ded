//! One rule for branches: the first branch pushed is the app's deploy branch, and HEAD points at it from then on.

use git2::{BranchType, Oid, Repository};

use crate::repository;

/// Where branches lie.
pub(crate) const PREFIX: &str = "refs/heads/";

/// A branch and the commit at its tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BranchTip {
    /// `refs/heads/main`.
    pub(crate) reference: String,
    /// The commit.
    pub(crate) commit: Oid,
}

/// The name that people know a branch by.
pub(crate) fn name(reference: &str) -> &str {
    reference.strip_prefix(PREFIX).unwrap_or(reference)
}

/// The deploy branch: where HEAD points, once that branch is there.
pub(crate) fn deployed(repo: &Repository) -> Option<BranchTip> {
    let head = repo.find_reference("HEAD").ok()?;
    tip(repo, head.symbolic_target()?)
}

/// The branch of this whole name, if it is there.
pub(crate) fn tip(repo: &Repository, reference: &str) -> Option<BranchTip> {
    let commit = repo.find_reference(reference).ok()?.peel_to_commit().ok()?.id();
    Some(BranchTip { reference: reference.to_owned(), commit })
}

/// The deploy branch. Where there is none yet, one of `pushed` becomes it, or else of the branches that are there (a push
/// that was killed has left them): `main` or `master` before others, since `git push --all` sends several.
pub(crate) fn deployed_or_first(repo: &Repository, pushed: &[&str]) -> anyhow::Result<Option<BranchTip>> {
    if let Some(tip) = deployed(repo) {
        return Ok(Some(tip));
    }
    let all: Vec<String> = names(repo)?.into_iter().map(|name| format!("{PREFIX}{name}")).collect();
    let there = |reference: &&str| tip(repo, reference).is_some();
    let pushed: Vec<&str> = pushed.iter().copied().filter(there).collect();
    let among =
        if pushed.is_empty() { all.iter().map(String::as_str).filter(there).collect() } else { pushed };
    let usual = ["main", "master"].iter().find_map(|usual| among.iter().find(|found| name(found) == *usual));
    let Some(first) = usual.or(among.first()) else { return Ok(None) };
    repo.set_head(first).map_err(repository::plain_error)?;
    Ok(tip(repo, first))
}

/// The names of all branches, as git sorts them. A name that is not UTF-8 is passed over.
pub(crate) fn names(repo: &Repository) -> anyhow::Result<Vec<String>> {
    let branches = repo.branches(Some(BranchType::Local)).map_err(repository::plain_error)?;
    let mut names: Vec<String> = branches
        .flatten()
        .filter_map(|(branch, _)| branch.name().ok().flatten().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
