//! What instances are called: `web.1`, in `PS` as well.

use std::fmt;

use piku_layout::name::ProcessName;
use serde::{Deserialize, Serialize};

/// The name of a place that an instance fills: `web.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceName {
    /// The process type.
    pub kind: ProcessName,
    /// Counted from 1.
    pub index: u32,
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.kind, self.index))
    }
}
