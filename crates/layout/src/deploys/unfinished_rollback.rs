//! A rollback of the machines of an app that has begun and has not ended.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change_record::ChangeRecord;
use crate::name::AppName;
use crate::paths::PikuRoot;

/// The file `changes/APP.rollback.json` below the root: it is written before the first machine rolls back, again as
/// each of them has done so, and removed after the last one. A rollback that is killed is finished by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedRollback {
    /// Time at which it began; that of an older piku is not known.
    #[serde(default = "Timestamp::now")]
    pub at: Timestamp,
    /// Turns that are left, in their order.
    pub turns: Vec<RollbackTurn>,
    /// True if the release to be left and the one before it are of the same commit.
    pub is_same_commit: bool,
    /// Addresses of the machines that have missed the last deploy and have what the others go back to.
    pub current: Vec<String>,
    /// Addresses of the machines that did not tell their releases.
    pub unknown: Vec<String>,
    /// True until the settings of this machine have followed those of the first machine that has rolled back.
    pub follows_settings: bool,
    /// Settings of the machine whose turn it is, while `follows_settings` is true.
    pub settings: Option<SettingsBefore>,
}

/// A host that is to roll back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackTurn {
    /// Address in `deploy_to`; `None` for this machine.
    pub address: Option<String>,
    /// Number of the release to be left there.
    pub leaves: u64,
    /// Number of the release before it.
    pub returns_to: u64,
    /// Commit of the release before it.
    pub commit: String,
}

/// The settings of a machine before it rolls back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsBefore {
    /// Address of the machine.
    pub address: String,
    /// Names and values.
    pub values: BTreeMap<String, String>,
}

impl ChangeRecord for UnfinishedRollback {
    fn path(root: &PikuRoot, app: &AppName) -> PathBuf {
        root.unfinished_rollback(app)
    }

    fn is_done(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_lasts_as_long_as_a_turn_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app = "blog".parse().unwrap();
        let turn = RollbackTurn { address: None, leaves: 2, returns_to: 1, commit: "a".to_owned() };
        let mut record = UnfinishedRollback {
            at: Timestamp::now(),
            turns: vec![turn],
            is_same_commit: false,
            current: Vec::new(),
            unknown: vec!["pi-1".to_owned()],
            follows_settings: true,
            settings: Some(SettingsBefore { address: "pi-2".to_owned(), values: BTreeMap::new() }),
        };
        record.write(&root, &app).unwrap();
        assert_eq!(UnfinishedRollback::read(&root, &app).unwrap().as_ref(), Some(&record));
        record.turns.clear();
        record.write(&root, &app).unwrap();
        assert!(!UnfinishedRollback::is_there(&root, &app));
        assert_eq!(UnfinishedRollback::read(&root, &app).unwrap(), None);
        UnfinishedRollback::end(&root, &app).unwrap();
    }
}
