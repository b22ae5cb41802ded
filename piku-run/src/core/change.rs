//! Changes: deploys, restarts and scalings. New instances start beside the old ones; all of them become
//! live or none does.

use std::collections::BTreeSet;
use std::time::Duration;

use piku_layout::name::ProcessName;

use super::{
    ChangeError, CoreAction, InstanceId, InstanceName, InstanceState, JobId, ProcessExit, ProgressLine,
    RunPlan, SupervisorCore,
};

/// Duration of a release task from which on it is told.
const SLOW_TASK: Duration = Duration::from_secs(1);

/// Running instances that a change replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplaceScope {
    All,
    /// Instances of one type.
    Type(ProcessName),
    /// The instance of one slot.
    Instance(InstanceName),
    /// None: missing instances are started, surplus ones stopped.
    Missing,
}

/// A change in progress.
#[derive(Debug)]
pub(super) struct AppChange {
    pub(super) job: JobId,
    pub(super) plan: RunPlan,
    pub(super) fresh: Vec<InstanceId>,
    replace: ReplaceScope,
    phase: ChangePhase,
    /// Time at which it began, and its release task with it.
    begin: Duration,
    /// Route given to the executor.
    sent: Option<super::AppRoute>,
    pub(super) failed: Option<ChangeError>,
    /// Types of which the end of a worker has been reported.
    pub(super) ended: BTreeSet<ProcessName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangePhase {
    Task,
    /// Instances that may run beside the old ones are on trial.
    Beside,
    /// Old plain workers are ending.
    Handover,
    /// New plain workers are on trial.
    After,
    /// The executor makes the change live on disk.
    Switch,
    /// The change failed; its instances are ending.
    Undo,
}

impl SupervisorCore {
    pub(super) fn begin_change(&mut self, job: JobId, plan: RunPlan, replace: ReplaceScope, task: bool) {
        if self.refuses_changes() {
            let reason = "another change of this app is under way".to_owned();
            self.out.push(CoreAction::FinishJob {
                job,
                result: Err(ChangeError { is_retryable: true, ..ChangeError::new(reason) }),
            });
            return;
        }
        let release = plan.release;
        let phase = if task { ChangePhase::Task } else { ChangePhase::Beside };
        self.change = Some(AppChange {
            job,
            plan,
            fresh: Vec::new(),
            replace,
            phase,
            begin: self.now,
            sent: None,
            failed: None,
            ended: BTreeSet::new(),
        });
        if task {
            self.out.push(CoreAction::RunTask { release, job });
        } else {
            self.start_beside();
        }
    }

    /// Returns the slots that need a new instance.
    fn missing_slots(&self) -> Vec<(InstanceName, super::ProcessType)> {
        let Some(change) = &self.change else { return Vec::new() };
        let keeps = |ps: &InstanceName| match &change.replace {
            ReplaceScope::All => false,
            ReplaceScope::Type(name) => ps.kind != *name && self.filled_slots(ps),
            ReplaceScope::Instance(name) => ps != name && self.filled_slots(ps),
            ReplaceScope::Missing => self.filled_slots(ps),
        };
        change.plan.slots().filter(|(ps, _)| !keeps(ps)).map(|(ps, kind)| (ps, kind.clone())).collect()
    }

    fn filled_slots(&self, ps: &InstanceName) -> bool {
        self.instances.values().any(|one| one.live && !one.is_leaving() && one.ps == *ps)
    }

    /// Returns whether a slot must wait for the end of old instances.
    fn must_wait(&self, ps: &InstanceName, kind: &super::ProcessType) -> bool {
        self.instances.iter().any(|(id, one)| self.is_before(*id, one, ps, kind))
    }

    /// Returns whether an old instance must end before the instance of this slot may start.
    fn is_before(
        &self,
        id: InstanceId,
        one: &super::AppInstance,
        ps: &InstanceName,
        kind: &super::ProcessType,
    ) -> bool {
        if kind.must_listen {
            let is_fresh = self.change.as_ref().is_some_and(|change| change.fresh.contains(&id));
            return !is_fresh && kind.pinned.is_some() && one.port == kind.pinned;
        }
        !kind.overlap && self.is_in_the_way(id, one, ps)
    }

    /// Returns whether an old instance must end before a new plain worker may start: one of the same type,
    /// so that two releases never do the same job. A scaling adds workers beside those of the same release.
    fn is_in_the_way(&self, id: InstanceId, one: &super::AppInstance, ps: &InstanceName) -> bool {
        let Some(change) = &self.change else { return false };
        let same = match change.replace {
            ReplaceScope::Missing | ReplaceScope::Instance(_) => one.ps == *ps,
            ReplaceScope::All | ReplaceScope::Type(_) => one.ps.kind == ps.kind,
        };
        same && !change.fresh.contains(&id)
    }

    fn start_beside(&mut self) {
        for (ps, kind) in self.missing_slots() {
            if !self.must_wait(&ps, &kind) {
                self.start_fresh(ps, &kind);
            }
        }
    }

    fn start_fresh(&mut self, ps: InstanceName, kind: &super::ProcessType) {
        let Some(plan) = self.change.as_ref().map(|change| change.plan.clone()) else { return };
        let id = self.create_instance(ps, kind, &plan, false);
        if let Some(change) = &mut self.change {
            change.fresh.push(id);
        }
    }

    /// Returns the slots whose new instance has not started.
    fn remaining_slots(&self) -> Vec<(InstanceName, super::ProcessType)> {
        let Some(change) = &self.change else { return Vec::new() };
        let started = |ps: &InstanceName| {
            change.fresh.iter().any(|id| self.instances.get(id).is_some_and(|one| one.ps == *ps))
        };
        self.missing_slots().into_iter().filter(|(ps, _)| !started(ps)).collect()
    }

    pub(super) fn task_ended(&mut self, ended: Result<ProcessExit, String>) {
        let Some(change) = &mut self.change else { return };
        if change.phase != ChangePhase::Task {
            return;
        }
        change.phase = ChangePhase::Beside;
        match ended {
            Ok(exit) if exit.is_success() => {
                let (job, duration) = (change.job, self.now.saturating_sub(change.begin));
                if duration >= SLOW_TASK {
                    let text = format!("the release task took {:.1} s", duration.as_secs_f64());
                    self.out.push(CoreAction::ReportProgress { job, line: ProgressLine::Detail(text) });
                }
                self.start_beside();
            }
            Ok(exit) => self.fail_change(ChangeError::new(format!("the release task {exit}"))),
            Err(reason) => {
                self.fail_change(ChangeError::new(format!("cannot run the release task: {reason}")));
            }
        }
    }

    pub(super) fn finish_switch(&mut self, result: Result<(), String>) {
        let Some(change) = self.change.take_if(|change| change.phase == ChangePhase::Switch) else { return };
        if let Err(reason) = result {
            // Requests may already reach the new instances; the route must change before they end.
            self.change = Some(change);
            self.set_phase(ChangePhase::Undo);
            self.is_routed = false;
            self.update_route();
            return self.fail_change(ChangeError::new(reason));
        }
        // The route as sent: a port may have been taken meanwhile.
        self.routed.clone_from(&change.sent);
        self.is_routed = true;
        // The new instances are live; all others leave.
        let replaced: Vec<InstanceId> = self
            .instances()
            .filter(|(id, one)| self.is_replaced(&change, *id, one))
            .map(|(id, _)| id)
            .collect();
        for id in &change.fresh {
            if let Some(one) = self.instances.get_mut(id) {
                one.live = true;
            }
            self.out.push(CoreAction::Record { id: *id });
        }
        for id in replaced {
            self.retire_instance(id);
            // The next supervisor must not treat it as live.
            self.out.push(CoreAction::Record { id });
        }
        self.plan = Some(change.plan);
        self.out.push(CoreAction::FinishJob { job: change.job, result: Ok(()) });
        self.reconcile();
    }

    /// Returns whether an instance stops once the change is live.
    pub(super) fn is_replaced(&self, change: &AppChange, id: InstanceId, one: &super::AppInstance) -> bool {
        one.live
            && !change.fresh.contains(&id)
            && (one.release != change.plan.release
                || change.plan.type_of_slot(&one.ps).is_none()
                || change.fresh.iter().any(|id| self.instances.get(id).is_some_and(|new| new.ps == one.ps)))
    }

    /// Returns whether the executor is switching, and so sets the route itself.
    pub(super) fn is_switching(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.phase == ChangePhase::Switch)
    }

    /// Fails the change: its instances end, the old ones stay.
    pub(super) fn fail_change(&mut self, error: ChangeError) {
        let Some(change) = &mut self.change else { return };
        if change.failed.is_some() {
            return;
        }
        change.failed = Some(error);
        if change.phase == ChangePhase::Task {
            self.out.push(CoreAction::KillTask);
        }
        change.phase = ChangePhase::Undo;
        for id in change.fresh.clone() {
            self.retire_instance(id);
        }
    }

    /// Moves the change to its next stage if the current one is complete.
    pub(super) fn advance_change(&mut self) {
        self.check_trials();
        while let Some(change) = &self.change {
            let mut fresh = change.fresh.iter();
            let all_up = fresh.all(|id| self.instances.get(id).is_some_and(super::AppInstance::is_settled));
            match change.phase {
                ChangePhase::Beside if all_up => {
                    let left = self.remaining_slots();
                    if left.is_empty() {
                        if self.check_something_runs() {
                            self.request_switch();
                        }
                    } else {
                        self.hand_over(&left);
                    }
                }
                ChangePhase::Handover => {
                    let left = self.remaining_slots();
                    if left.iter().any(|(ps, kind)| self.must_wait(ps, kind)) {
                        break;
                    }
                    self.set_phase(ChangePhase::After);
                    for (ps, kind) in left {
                        self.start_fresh(ps, &kind);
                    }
                }
                ChangePhase::After if all_up => {
                    if self.check_something_runs() {
                        self.request_switch();
                    }
                }
                ChangePhase::Undo if change.fresh.iter().all(|id| !self.instances.contains_key(id)) => {
                    let Some(change) = self.change.take() else { break };
                    let error = change.failed.unwrap_or_else(|| ChangeError::new(""));
                    self.reconcile();
                    self.out.push(CoreAction::FinishJob { job: change.job, result: Err(error) });
                }
                _ => break,
            }
        }
        if !self.stops.is_empty() && self.instances.is_empty() && self.change.is_none() {
            for job in std::mem::take(&mut self.stops) {
                self.out.push(CoreAction::FinishJob { job, result: Ok(()) });
            }
        }
    }

    fn set_phase(&mut self, phase: ChangePhase) {
        if let Some(change) = &mut self.change {
            change.phase = phase;
        }
    }

    fn request_switch(&mut self) {
        self.set_phase(ChangePhase::Switch);
        let Some(change) = &self.change else { return };
        let (job, route) = (change.job, self.route_after(change));
        for id in change.fresh.clone() {
            if let Some(one) = self.instances.get_mut(&id) {
                one.routed = one.port;
            }
        }
        if let Some(change) = &mut self.change {
            change.sent = Some(route.clone());
        }
        self.out.push(CoreAction::Switch { job, route });
    }

    /// Stops old plain workers before their successors start, so that both never do the same job at once, and
    /// instances whose port their successor needs.
    fn hand_over(&mut self, left: &[(InstanceName, super::ProcessType)]) {
        self.set_phase(ChangePhase::Handover);
        let old: Vec<InstanceId> = self
            .instances
            .iter()
            .filter(|(_, one)| one.live || matches!(one.state, InstanceState::Draining { .. }))
            .filter(|(id, one)| left.iter().any(|(ps, kind)| self.is_before(**id, one, ps, kind)))
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            if let (Some(one), Some(change)) = (self.instances.get(&id), &self.change) {
                let mut text = format!("Stopping the old {}", one.ps);
                if let Some(port) = one.port {
                    text = format!(
                        "{text}: only one can have PORT={port}, requests fail until the new one is healthy"
                    );
                }
                self.out.push(CoreAction::ReportProgress { job: change.job, line: ProgressLine::Step(text) });
            }
            self.stop_instance(id);
        }
    }
}
