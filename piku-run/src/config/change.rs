//! Difference between two configs.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::ConfigValues;

/// Names with their new values, `None` for removed ones. `Display` prints the names only (`set A, B; unset
/// C`), since values are secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ConfigChange(pub(crate) IndexMap<String, Option<String>>);

impl ConfigChange {
    /// Returns the change from `old` to `new`.
    #[must_use]
    pub(crate) fn between(old: &ConfigValues, new: &ConfigValues) -> Self {
        let set = new.0.iter().filter(|(name, value)| old.get(name) != Some(value));
        let unset = old.0.keys().filter(|name| !new.0.contains_key(*name));
        let set = set.map(|(name, value)| (name.clone(), Some(value.clone())));
        Self(set.chain(unset.map(|name| (name.clone(), None))).collect())
    }

    /// Applies the change.
    pub(crate) fn apply(&self, config: &mut ConfigValues) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => _ = config.0.insert(name.clone(), value.clone()),
                None => config.unset(name),
            }
        }
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |set: bool| {
            let names = self.0.iter().filter(|(_, value)| value.is_some() == set);
            names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        match (names(true).as_str(), names(false).as_str()) {
            ("", "") => f.write_str("nothing"),
            (set, "") => write!(f, "set {set}"),
            ("", unset) => write!(f, "unset {unset}"),
            (set, unset) => write!(f, "set {set}; unset {unset}"),
        }
    }
}
