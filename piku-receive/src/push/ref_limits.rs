//! Limits on the branches and tags of a repository. Each is a file, with a directory for each part of its name, so it
//! takes far more of the disk than of the push that creates it.

use anyhow::Context;
use git2::Repository;
use piku_files::free_space::SpaceNeeded;
use piku_release::removals;
use piku_report::user_error::UserError;

use crate::deploy::begin::RefUpdate;
use crate::repository;

/// Largest number of refs in a repository.
const MOST_REFS: usize = 10_000;

/// Refuses new refs beyond [`MOST_REFS`], and those for which the disk has no space beside `reserve` bytes.
pub(super) fn check_new_refs(repo: &Repository, updates: &[RefUpdate], reserve: u64) -> anyhow::Result<()> {
    let new: Vec<&RefUpdate> = updates.iter().filter(|update| update.is_created()).collect();
    if new.is_empty() {
        return Ok(());
    }
    let there = count_refs(repo).map_err(repository::plain_error).context("cannot list the branches")?;
    let all = there.saturating_add(new.len());
    if all > MOST_REFS {
        let what = format!("the app would have {all} branches and tags, and {MOST_REFS} are allowed");
        let hint = "push the branch that is deployed alone, or delete others: git push REMOTE --delete NAME";
        return Err(UserError::new(what).hint(hint).into());
    }
    removals::check_space_keeping(repo.path(), space_of(&new), reserve, "the list of new branches and tags")
}

fn count_refs(repo: &Repository) -> Result<usize, git2::Error> {
    Ok(repo.references()?.flatten().count())
}

/// Returns the space of the files and directories of these refs.
fn space_of(new: &[&RefUpdate]) -> SpaceNeeded {
    let parts = new.iter().map(|update| update.reference.split('/').count() as u64).sum();
    SpaceNeeded::of(0) * parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::Oid;

    #[test]
    fn each_part_of_a_name_takes_space() {
        let update = |reference: &str| RefUpdate {
            old: Oid::zero(),
            new: Oid::from_str(&"1".repeat(40)).unwrap(),
            reference: reference.to_owned(),
        };
        let [short, long] = ["refs/heads/main", "refs/tags/a/b/c/d/e/f/g"].map(update);
        assert_eq!(space_of(&[&short]), SpaceNeeded { bytes: 3 * 4096, files: 3 });
        assert_eq!(space_of(&[&short, &long]), SpaceNeeded { bytes: 12 * 4096, files: 12 });
    }

    #[test]
    fn new_refs_need_space_beside_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        let (zero, one) = (Oid::zero(), Oid::from_str(&"1".repeat(40)).unwrap());
        let check = |old, new, reserve| {
            let update = RefUpdate { old, new, reference: "refs/tags/v1".to_owned() };
            check_new_refs(&repo, &[update], reserve)
        };
        let said = check(zero, one, u64::MAX).unwrap_err().to_string();
        assert!(said.contains("the list of new branches and tags"), "{said}");
        check(zero, one, 0).unwrap();
        // What is there already, or is removed, needs none.
        check(one, one, u64::MAX).unwrap();
        check(one, zero, u64::MAX).unwrap();
    }
}
