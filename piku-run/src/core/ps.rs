//! Names of instances: `web.1`, also in the variable `PS`.

use std::fmt;

use piku_layout::name::ProcessName;
use serde::{Deserialize, Serialize};

/// Name of an instance and its slot: `web.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct InstanceName {
    pub(crate) kind: ProcessName,
    /// Slot number, from 1.
    pub(crate) index: u32,
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.kind, self.index))
    }
}
