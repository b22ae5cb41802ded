//! Compares a build with the release before it: if both are the same, nothing is deployed.

use std::path::Path;

use piku_files::TreeHandle;

use crate::store::layer::LayerStore;
use crate::tree::tree_comparison::TreePair;
use piku_release::manifest::{BuiltRelease, TREE};

/// Returns whether `new`, with its tree in `tree` and its layers in `store`, equals the release in the
/// directory `before`.
pub(crate) fn is_unchanged(
    before: &Path,
    new: &BuiltRelease,
    tree: &TreeHandle,
    store: &LayerStore,
) -> anyhow::Result<bool> {
    let old = BuiltRelease::read(before)?;
    let names =
        |release: &BuiltRelease| release.layers.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
    let same_facts = old.runtime == new.runtime
        && old.version == new.version
        && old.architecture == new.architecture
        && old.processes == new.processes
        && old.jailed == new.jailed
        && names(&old) == names(new)
        && renamed(&old, new) == new.env;
    if !same_facts {
        return Ok(false);
    }
    for (was, is) in old.layers.iter().zip(&new.layers) {
        if was.key == is.key {
            continue;
        }
        // The old layer may have been removed.
        let Ok(old) = store.tree(&was.key) else { return Ok(false) };
        let names = (was.key.as_str(), is.key.as_str());
        if !(TreePair { old: &old, new: &store.tree(&is.key)?, names }).find_differences()?.is_empty() {
            return Ok(false);
        }
    }
    let old = TreeHandle::open(&before.join(TREE))?;
    Ok(TreePair { old: &old, new: tree, names: ("", "") }.find_differences()?.is_empty())
}

/// Returns the old release's environment as it would be with the new one's layers: without a jail their keys
/// are in it.
fn renamed(old: &BuiltRelease, new: &BuiltRelease) -> std::collections::BTreeMap<String, String> {
    let mut env = old.env.clone();
    for (was, is) in old.layers.iter().zip(&new.layers) {
        for value in env.values_mut() {
            *value = value.replace(&was.key, &is.key);
        }
    }
    env
}
