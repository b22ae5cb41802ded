//! Start of the state machine: which workers of the previous supervisor are kept, and which instances are
//! missing.

use std::time::Duration;

use super::startup::StartupWatch;
use super::{
    AppInstance, CoreAction, CrashBackoff, FoundWorker, InstanceId, InstanceState, ProbePace, RunPlan,
    SupervisorCore, TrialRule,
};

impl SupervisorCore {
    pub(super) fn boot(&mut self, plan: Option<RunPlan>, found: Vec<FoundWorker>) {
        self.next = self.next.max(1 + found.iter().map(|found| found.id.0).max().unwrap_or(0));
        let grace = plan.as_ref().map_or(Duration::from_secs(10), |plan| plan.grace);
        let asked = plan.as_ref().map_or_else(ProbePace::default, |plan| plan.pace);
        self.plan = plan;
        // Prefer live workers to those on trial, and older ones to younger.
        let mut found = found;
        found.sort_by_key(|found| (!found.live, found.id));
        for one in found {
            let place = self.plan.as_ref().filter(|plan| plan.release == one.release);
            let kind = place.and_then(|plan| plan.type_of_slot(&one.ps));
            let (listens, pinned) = (kind.map(|kind| kind.must_listen), kind.and_then(|kind| kind.pinned));
            let taken =
                self.instances.values().any(|other| other.ps == one.ps && other.live && !other.is_leaving());
            let since = self.now.saturating_sub(one.uptime);
            let keep = listens.filter(|_| !taken);
            let instance = AppInstance {
                ps: one.ps,
                release: one.release,
                must_listen: listens.unwrap_or(one.port.is_some()),
                // Its notifications to the previous supervisor are unknown.
                pinned,
                trial: TrialRule::default(),
                pace: asked,
                port: one.port,
                live: keep.is_some(),
                state: InstanceState::Ready { since },
                routed: one.port.filter(|_| one.ready),
                port_moves: 0,
                restarts: one.restarts,
                last_exit: None,
                grace,
                backoff: CrashBackoff::default(),
                watch: StartupWatch::default(),
            };
            self.instances.insert(one.id, instance);
            if one.once && self.plan.is_some() {
                if let Some(one) = self.instances.get_mut(&one.id) {
                    one.state = InstanceState::CronRun { since };
                }
                continue;
            }
            if keep.is_none() {
                // Even if it was on trial: the previous supervisor may have routed requests to it just
                // before it died.
                self.retire_instance(one.id);
                continue;
            }
            if !one.ready {
                self.mark_started(one.id);
                self.schedule_probe(one.id);
            }
            if !one.live {
                self.out.push(CoreAction::Record { id: one.id });
            }
        }
        self.reconcile();
    }

    /// Starts instances missing from the live plan and stops surplus ones. Does nothing during a change.
    pub(super) fn reconcile(&mut self) {
        let Some(plan) = self.plan.clone() else { return };
        let surplus: Vec<InstanceId> = self
            .instances()
            .filter(|(_, one)| one.live && !one.is_leaving())
            .filter(|(_, one)| one.release != plan.release || plan.type_of_slot(&one.ps).is_none())
            .map(|(id, _)| id)
            .collect();
        for id in surplus {
            self.retire_instance(id);
        }
        for (ps, kind) in plan.slots() {
            let filled = self.instances.values().any(|one| one.live && !one.is_leaving() && one.ps == ps);
            if !filled {
                self.create_instance(ps, kind, &plan, true);
            }
        }
    }
}
