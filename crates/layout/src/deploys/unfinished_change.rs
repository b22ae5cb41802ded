//! A change of settings that has begun on this machine and is not yet noted for the other machines of the app.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::change_record;
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

impl UnfinishedChange {
    /// Returns true if a change of the app has begun.
    #[must_use]
    pub fn is_there(root: &PikuRoot, app: &AppName) -> bool {
        change_record::is_there(&root.unfinished_change(app))
    }

    /// Reads the change; `None` if none has begun.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn read(root: &PikuRoot, app: &AppName) -> io::Result<Option<Self>> {
        change_record::read(&root.unfinished_change(app))
    }

    /// Writes the change, before it is made.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn begin(&self, root: &PikuRoot, app: &AppName) -> io::Result<()> {
        change_record::write(&root.unfinished_change(app), self)
    }

    /// Removes the file of a change that is noted, or was not made.
    ///
    /// # Errors
    /// Fails if the file cannot be removed.
    pub fn end(root: &PikuRoot, app: &AppName) -> io::Result<()> {
        change_record::remove(&root.unfinished_change(app))
    }
}
