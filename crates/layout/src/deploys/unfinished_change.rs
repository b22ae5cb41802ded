//! A change of settings that has begun on this machine and is not yet noted for the other machines of the app.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::change_record::ChangeRecord;
use super::missed_settings::MissedChange;
use crate::name::AppName;
use crate::paths::PikuRoot;

/// The file `changes/APP.json` below the root: it is written before the settings of this machine change and removed
/// once the change is noted in `missed-settings.json`. If a kill comes in between, the difference between `before` and
/// the settings is what the machines lack. It is not in the app's folder, which the change may create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedChange {
    /// Settings of this machine before the change.
    pub before: BTreeMap<String, String>,
    /// Addresses of the machines that are to get the change.
    pub lacks: Vec<String>,
    /// Reason for which they lack it until then.
    pub reason: MissedChange,
    /// Addresses of the machines that have it already.
    pub has: Vec<String>,
}

impl ChangeRecord for UnfinishedChange {
    fn path(root: &PikuRoot, app: &AppName) -> PathBuf {
        root.unfinished_change(app)
    }
}
