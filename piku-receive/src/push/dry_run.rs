//! All refs of a repository at one moment, to go back to: a dry run stores nothing.

use std::collections::BTreeMap;

use git2::{Oid, Repository};

use crate::repository;

/// Where each ref pointed.
#[derive(Debug)]
pub(crate) struct RefTips(BTreeMap<Vec<u8>, Oid>);

impl RefTips {
    /// Those that point at an object themselves.
    pub(crate) fn of(repo: &Repository) -> anyhow::Result<Self> {
        let mut refs = BTreeMap::new();
        for reference in repo.references().map_err(repository::plain_error)?.flatten() {
            if let Some(target) = reference.target() {
                refs.insert(reference.name_bytes().to_vec(), target);
            }
        }
        Ok(Self(refs))
    }

    /// Puts every ref back to where it was, and removes those that were not there.
    pub(crate) fn restore(&self, repo: &Repository) -> anyhow::Result<()> {
        for (name, target) in &Self::of(repo)?.0 {
            let before = self.0.get(name);
            // Nobody can push a name that is not UTF-8 and deploy it; what cannot be named here stays.
            let Ok(name) = std::str::from_utf8(name) else { continue };
            match before {
                Some(before) if before == target => {}
                Some(before) => {
                    repo.reference(name, *before, true, "piku: a dry run")
                        .map_err(repository::plain_error)?;
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
