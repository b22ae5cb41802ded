//! Changes: deploys, restarts and scalings. New instances start beside the old ones; all of them become
//! live or none does.

use std::time::Duration;

use piku_layout::name::ProcessName;

use super::{
    ChangeError, CoreAction, InstanceId, InstanceName, InstanceState, JobId, ProbeOutcome, ProcessExit,
    ProgressLine, RunPlan, SupervisorCore,
};

/// Running instances that a change replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplaceScope {
    All,
    /// Instances of one type.
    Type(ProcessName),
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
    /// Route given to the executor.
    sent: Option<super::AppRoute>,
    failed: Option<ChangeError>,
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
        if self.change.is_some() || !self.stops.is_empty() {
            let reason = "another change of this app is under way".to_owned();
            self.out.push(CoreAction::FinishJob {
                job,
                result: Err(ChangeError { is_retryable: true, ..ChangeError::new(reason) }),
            });
            return;
        }
        let release = plan.release;
        let phase = if task { ChangePhase::Task } else { ChangePhase::Beside };
        self.change =
            Some(AppChange { job, plan, fresh: Vec::new(), replace, phase, sent: None, failed: None });
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
            ReplaceScope::Missing => self.filled_slots(ps),
        };
        change.plan.slots().filter(|(ps, _)| !keeps(ps)).map(|(ps, kind)| (ps, kind.clone())).collect()
    }

    fn filled_slots(&self, ps: &InstanceName) -> bool {
        self.instances.values().any(|one| one.live && !one.is_leaving() && one.ps == *ps)
    }

    /// Returns whether a slot must wait for the end of old workers.
    fn must_wait(&self, ps: &InstanceName, kind: &super::ProcessType) -> bool {
        !kind.must_listen
            && !kind.overlap
            && self.instances.iter().any(|(id, one)| self.is_in_the_way(*id, one, ps))
    }

    /// Returns whether an old instance must end before a new plain worker may start: one of the same type,
    /// so that two releases never do the same job. A scaling adds workers beside those of the same release.
    fn is_in_the_way(&self, id: InstanceId, one: &super::AppInstance, ps: &InstanceName) -> bool {
        let Some(change) = &self.change else { return false };
        let same =
            if change.replace == ReplaceScope::Missing { one.ps == *ps } else { one.ps.kind == ps.kind };
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
            Ok(exit) if exit.is_success() => self.start_beside(),
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
            let all_up =
                change.fresh.iter().all(|id| self.instances.get(id).is_some_and(super::AppInstance::is_up));
            match change.phase {
                ChangePhase::Beside if all_up => {
                    let left = self.remaining_slots();
                    if left.is_empty() {
                        self.request_switch();
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
                ChangePhase::After if all_up => self.request_switch(),
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

    /// Stops old plain workers before their successors start, so that both never do the same job at once.
    fn hand_over(&mut self, left: &[(InstanceName, super::ProcessType)]) {
        self.set_phase(ChangePhase::Handover);
        let old: Vec<InstanceId> = self
            .instances
            .iter()
            .filter(|(id, one)| one.live && left.iter().any(|(ps, _)| self.is_in_the_way(**id, one, ps)))
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            if let (Some(one), Some(change)) = (self.instances.get(&id), &self.change) {
                let text = format!("Stopping the old {}", one.ps);
                self.out.push(CoreAction::ReportProgress { job: change.job, line: ProgressLine::Step(text) });
            }
            self.stop_instance(id);
        }
    }

    /// Looks for instances on trial whose time is up.
    fn check_trials(&mut self) {
        let Some(change) = &self.change else { return };
        if change.failed.is_some() {
            return;
        }
        let limit = change.plan.ready_within;
        let now = self.now;
        for id in change.fresh.clone() {
            let Some(one) = self.instances.get_mut(&id) else { continue };
            match &mut one.state {
                InstanceState::Starting { since, diagnosed, .. } if !*diagnosed && *since + limit <= now => {
                    *diagnosed = true;
                    self.out.push(CoreAction::Diagnose { id });
                }
                _ => {}
            }
        }
    }

    /// Fails the change for an instance that did not become ready, naming the ports on which it listens
    /// instead.
    pub(super) fn fail_unready_instance(&mut self, id: InstanceId, ports: &[u16]) {
        let Some(change) = self.change.as_ref().filter(|change| change.fresh.contains(&id)) else { return };
        let Some(one) = self.instances.get(&id) else { return };
        let InstanceState::Starting { last, patience, diagnosed: true, unannounced, .. } = &one.state else {
            return;
        };
        // Earlier checks were refused before it listened; the one in progress was accepted.
        let silent = patience.is_some() && one.port.is_some_and(|port| ports.contains(&port));
        let last = last.as_ref().filter(|last| !(silent && **last == ProbeOutcome::Refused));
        let reason = why_not_ready(&change.plan, one, last, ports, *unannounced);
        self.fail_change(ChangeError { culprit: Some(id), ..ChangeError::new(reason) });
    }
}

/// Returns the time limit of one check as text, if it is shorter than `limit`.
fn in_time(timeout: Duration, limit: Duration) -> String {
    if timeout < limit {
        format!(" within {} s (HEALTHCHECK_TIMEOUT)", timeout.as_secs_f64())
    } else {
        String::new()
    }
}

/// Describes the health check and what happened instead of a good response.
fn why_not_ready(
    plan: &RunPlan,
    one: &super::AppInstance,
    last: Option<&ProbeOutcome>,
    ports: &[u16],
    unannounced: bool,
) -> String {
    let (ps, limit, asked) = (&one.ps, plan.ready_within, &plan.asked);
    let within = format!("within {} s", limit.as_secs_f64());
    let Some(port) = one.port.filter(|_| !unannounced) else {
        let why = if unannounced { ": it did not say READY=1 to $NOTIFY_SOCKET" } else { "" };
        return format!("{ps} was not ready {within}{why}");
    };
    let others: Vec<String> =
        ports.iter().filter(|other| **other != port).map(|port| format!(":{port}")).collect();
    match last {
        Some(ProbeOutcome::Http(status)) => {
            format!("{ps} was not healthy {within}: it answered {status} to {asked} on port {port}")
        }
        Some(ProbeOutcome::Failed(reason)) => format!("{ps} was not healthy {within}: {reason}"),
        Some(ProbeOutcome::Alive) => format!("{ps} was not healthy {within}"),
        Some(ProbeOutcome::Closed) => format!(
            "{ps} was not healthy {within}: it accepted {asked} on port {port} and closed the connection without \
             an answer"
        ),
        Some(ProbeOutcome::NotHttp) => format!(
            "{ps} was not healthy {within}: its answer to {asked} on port {port} is not HTTP/1 (an app that speaks \
             no HTTP says HEALTHCHECK=tcp)"
        ),
        Some(ProbeOutcome::Refused) if ports.contains(&port) => format!(
            "{ps} listens on port {port}, but not on 127.0.0.1: it must listen there ($BIND_ADDRESS) or on all addresses"
        ),
        Some(ProbeOutcome::Silent) | None => format!(
            "{ps} was not healthy {within}: it accepted {asked} on port {port} and did not answer{}",
            in_time(one.pace.timeout, limit)
        ),
        Some(ProbeOutcome::Refused) if others.is_empty() => {
            format!(
                "nothing listens on PORT {port} after {} s: {ps} must listen on the port in $PORT",
                limit.as_secs_f64()
            )
        }
        Some(ProbeOutcome::Refused) => {
            format!(
                "nothing listens on PORT {port}; the process listens on {} ({ps}, after {} s)",
                others.join(", "),
                limit.as_secs_f64()
            )
        }
    }
}
