//! Snapshot of all refs of a repository: a dry run restores them.

use std::collections::BTreeMap;

use git2::{Oid, Repository};

use crate::repository;

/// Target of each ref, by its name.
#[derive(Debug)]
pub(crate) struct RefTips(BTreeMap<Vec<u8>, Oid>);

impl RefTips {
    /// Reads all refs that are not symbolic.
    pub(crate) fn read_refs(repo: &Repository) -> anyhow::Result<Self> {
        let mut refs = BTreeMap::new();
        for reference in repo.references().map_err(repository::plain_error)?.flatten() {
            if let Some(target) = reference.target() {
                refs.insert(reference.name_bytes().to_vec(), target);
            }
        }
        Ok(Self(refs))
    }

    /// Restores every ref and deletes new ones.
    pub(crate) fn restore(&self, repo: &Repository) -> anyhow::Result<()> {
        for (name, target) in &Self::read_refs(repo)?.0 {
            let before = self.0.get(name);
            // The pre-receive hook refuses names that are not UTF-8.
            let Ok(name) = std::str::from_utf8(name) else { continue };
            match before {
                Some(before) if before == target => {}
                Some(before) => {
                    repo.reference(name, *before, true, "piku: dry run").map_err(repository::plain_error)?;
                }
                None => {
                    repo.find_reference(name)
                        .and_then(|mut new| new.delete())
                        .map_err(repository::plain_error)?;
                }
            }
        }
        Ok(())
    }
}
