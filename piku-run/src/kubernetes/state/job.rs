//! Jobs as far as piku reads them.

use serde::Deserialize;

use super::{ObjectCondition, ObjectMetadata};

#[derive(Debug, Clone, Deserialize)]
pub(in crate::kubernetes) struct JobState {
    pub(in crate::kubernetes) metadata: ObjectMetadata,
    #[serde(default)]
    status: JobStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct JobStatus {
    conditions: Vec<ObjectCondition>,
}

impl JobState {
    /// Returns whether the job has succeeded; `None` while it runs.
    pub(in crate::kubernetes) fn result(&self) -> Option<bool> {
        let is_true =
            |kind: &str| self.status.conditions.iter().any(|one| one.kind == kind && one.status == "True");
        if is_true("Complete") { Some(true) } else { is_true("Failed").then_some(false) }
    }
}
