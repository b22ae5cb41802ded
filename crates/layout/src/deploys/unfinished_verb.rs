//! A verb about the machines of an app that has begun and has not been executed by all of them.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change_record::ChangeRecord;
use crate::name::AppName;
use crate::paths::PikuRoot;

/// The file `changes/APP.verb.json` below the root: it is written before the first machine is asked, again as each of them
/// has answered, and removed after the last one. A verb that is killed is finished by it. Verbs that change settings,
/// and a rollback, have records of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedVerb {
    /// The verb.
    pub verb: String,
    /// Its arguments, the app not among them.
    pub args: Vec<String>,
    /// Time at which it began.
    pub at: Timestamp,
    /// True until this machine has executed it, if it is to.
    pub here: bool,
    /// Addresses of the machines that have not answered, in the order of `deploy_to`.
    pub machines: Vec<String>,
}

impl ChangeRecord for UnfinishedVerb {
    fn path(root: &PikuRoot, app: &AppName) -> PathBuf {
        root.unfinished_verb(app)
    }

    fn is_done(&self) -> bool {
        !self.here && self.machines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_lasts_as_long_as_a_host_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app = "blog".parse().unwrap();
        let mut record = UnfinishedVerb {
            verb: "ps:scale".to_owned(),
            args: vec!["web=2".to_owned()],
            at: Timestamp::now(),
            here: true,
            machines: vec!["piku@pi-1:2222".to_owned()],
        };
        record.write(&root, &app).unwrap();
        assert_eq!(UnfinishedVerb::read(&root, &app).unwrap().as_ref(), Some(&record));
        // An app that has no folder is found by its record.
        assert_eq!(root.changing_apps().unwrap(), std::slice::from_ref(&app));
        record.machines.clear();
        record.write(&root, &app).unwrap();
        assert!(UnfinishedVerb::is_there(&root, &app));
        record.here = false;
        record.write(&root, &app).unwrap();
        assert!(!UnfinishedVerb::is_there(&root, &app) && root.changing_apps().unwrap().is_empty());
    }
}
