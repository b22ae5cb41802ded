//! The rest of changes of the machines of an app, for lists of the apps.

use serde::Serialize;

use super::change_record::ChangeRecord;
use super::unfinished_rollback::UnfinishedRollback;
use super::unfinished_verb::UnfinishedVerb;
use crate::name::AppName;
use crate::paths::PikuRoot;

/// A verb that some machines have not executed yet: it is under way, or was killed and will be finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnfinishedWork {
    /// The verb.
    pub verb: String,
    /// Addresses of the machines that are left, as `deploy_to` names them.
    pub machines: Vec<String>,
}

impl UnfinishedWork {
    /// Reads what is left; `None` if there is nothing. A record that cannot be read is reported by the next change.
    #[must_use]
    pub fn read(root: &PikuRoot, app: &AppName) -> Option<Self> {
        if let Ok(Some(rollback)) = UnfinishedRollback::read(root, app) {
            let machines = rollback.turns.into_iter().filter_map(|turn| turn.address).collect();
            return Some(Self { verb: "rollback".to_owned(), machines });
        }
        let UnfinishedVerb { verb, machines, .. } = UnfinishedVerb::read(root, app).ok()??;
        Some(Self { verb, machines })
    }
}
