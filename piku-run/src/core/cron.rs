//! Runs of cron types, one at a time per type and independent of changes. A deploy lets a run finish; a
//! stop does not.

use piku_layout::name::ProcessName;

use super::{AppInstance, CoreAction, InstanceName, InstanceState, SupervisorCore};
use crate::core::{CrashBackoff, ProbePace};

impl SupervisorCore {
    /// Starts the run of a cron type that is due, unless its previous run still goes on.
    pub(super) fn start_cron_run(&mut self, kind: &ProcessName) {
        let Some(plan) = &self.plan else { return };
        if !plan.crons.iter().any(|(name, _)| name == kind) {
            return;
        }
        let ps = InstanceName { kind: kind.clone(), index: 1 };
        let running = self.instances().find(|(_, one)| one.ps == ps).map(|(id, _)| id);
        if let Some(id) = running {
            let text = format!("{ps} is due and skipped: its run before has not ended");
            self.out.push(CoreAction::LogRemark { id, ps, text });
            return;
        }
        let (release, grace) = (plan.release, plan.grace);
        let id = self.next_id();
        let once = AppInstance {
            ps,
            release,
            must_listen: false,
            pinned: None,
            trial: super::TrialRule::default(),
            pace: ProbePace::default(),
            port: None,
            live: false,
            state: InstanceState::CronRun { since: self.now },
            routed: None,
            port_moves: 0,
            restarts: 0,
            last_exit: None,
            grace,
            backoff: CrashBackoff::default(),
            watch: super::startup::StartupWatch::default(),
        };
        self.instances.insert(id, once);
        self.out.push(CoreAction::Spawn { id });
    }
}
