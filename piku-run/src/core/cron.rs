//! Runs of cron types: one at a time, beside whatever else happens to the app. A deploy leaves one that is under way to its
//! end; a stop does not.

use piku_procfile::name::ProcessName;

use super::{Action, Core, Instance, Ps, State};
use crate::core::{Backoff, Pace};

impl Core {
    /// The time of a cron type has come.
    pub(super) fn due(&mut self, kind: &ProcessName) {
        let Some(plan) = &self.plan else { return };
        if !plan.crons.iter().any(|(name, _)| name == kind) {
            return;
        }
        let ps = Ps { kind: kind.clone(), index: 1 };
        let running = self.instances().find(|(_, one)| one.ps == ps).map(|(id, _)| id);
        if let Some(id) = running {
            let text = format!("{ps} is due and skipped: its run before has not ended");
            self.out.push(Action::Remark { id, ps, text });
            return;
        }
        let (release, grace) = (plan.release, plan.grace);
        let id = self.next_id();
        let once = Instance {
            ps,
            release,
            listens: false,
            pace: Pace::default(),
            port: None,
            live: false,
            state: State::Once { since: self.now },
            routed: None,
            moves: 0,
            restarts: 0,
            last_exit: None,
            grace,
            backoff: Backoff::default(),
        };
        self.instances.insert(id, once);
        self.out.push(Action::Spawn { id });
    }
}
