//! The deploy branch: the first branch that is pushed. HEAD points at it.

use git2::{BranchType, Oid, Repository};

use crate::repository;

pub(crate) const PREFIX: &str = "refs/heads/";

/// A branch and its newest commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BranchTip {
    /// Full ref name, such as `refs/heads/main`.
    pub(crate) reference: String,
    pub(crate) commit: Oid,
}

/// Removes `refs/heads/` from a ref name.
pub(crate) fn short_name(reference: &str) -> &str {
    reference.strip_prefix(PREFIX).unwrap_or(reference)
}

/// Returns the deploy branch, the target of HEAD, if that branch exists.
pub(crate) fn find_deploy_branch(repo: &Repository) -> Option<BranchTip> {
    let head = repo.find_reference("HEAD").ok()?;
    find_tip(repo, head.symbolic_target()?)
}

/// Returns the branch with this full ref name, if it exists.
pub(crate) fn find_tip(repo: &Repository, reference: &str) -> Option<BranchTip> {
    let commit = repo.find_reference(reference).ok()?.peel_to_commit().ok()?.id();
    Some(BranchTip { reference: reference.to_owned(), commit })
}

/// Returns the deploy branch. If there is none, chooses one of `pushed`, or of all branches after a push
/// that was killed.
///
/// `main` and `master` come first, because `git push --all` sends several branches.
pub(crate) fn find_or_choose_deploy_branch(
    repo: &Repository,
    pushed: &[&str],
) -> anyhow::Result<Option<BranchTip>> {
    if let Some(tip) = find_deploy_branch(repo) {
        return Ok(Some(tip));
    }
    let all: Vec<String> = list_names(repo)?.into_iter().map(|name| format!("{PREFIX}{name}")).collect();
    let there = |reference: &&str| find_tip(repo, reference).is_some();
    let pushed: Vec<&str> = pushed.iter().copied().filter(there).collect();
    let among =
        if pushed.is_empty() { all.iter().map(String::as_str).filter(there).collect() } else { pushed };
    let usual =
        ["main", "master"].iter().find_map(|usual| among.iter().find(|found| short_name(found) == *usual));
    let Some(first) = usual.or(among.first()) else { return Ok(None) };
    repo.set_head(first).map_err(repository::plain_error)?;
    Ok(find_tip(repo, first))
}

/// Returns the names of all branches, sorted, without names that are not UTF-8.
pub(crate) fn list_names(repo: &Repository) -> anyhow::Result<Vec<String>> {
    let branches = repo.branches(Some(BranchType::Local)).map_err(repository::plain_error)?;
    let mut names: Vec<String> = branches
        .flatten()
        .filter_map(|(branch, _)| branch.name().ok().flatten().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
