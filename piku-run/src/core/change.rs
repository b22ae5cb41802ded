//! A deploy, a restart, a scaling: new instances beside the old, all ready or all gone.

use std::time::Duration;

use piku_layout::name::ProcessName;

use super::{
    ChangeRefusal, CoreAction, InstanceId, InstanceName, InstanceState, JobId, ProbeOutcome, ProcessExit,
    ProgressLine, RunPlan, SupervisorCore,
};

/// Which of the running instances give way to new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplaceScope {
    /// All.
    All,
    /// Those of one type.
    Type(ProcessName),
    /// None; only what is missing is started and what is too much is stopped.
    Missing,
}

/// A change under way.
#[derive(Debug)]
pub(super) struct AppChange {
    pub(super) job: JobId,
    /// What will be live.
    pub(super) plan: RunPlan,
    /// The instances on trial.
    pub(super) fresh: Vec<InstanceId>,
    replace: ReplaceScope,
    phase: ChangePhase,
    /// Where the executor was told to send requests.
    sent: Option<super::AppRoute>,
    /// Why it failed.
    failed: Option<ChangeRefusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangePhase {
    /// The release task runs.
    Task,
    /// What may run beside the old is on trial.
    Beside,
    /// Plain workers: the old ones are ending.
    Handover,
    /// Plain workers: the new ones are on trial.
    After,
    /// The executor makes it so on disk.
    Switch,
    /// It failed; what was new is ending.
    Undo,
}

impl SupervisorCore {
    pub(super) fn begin(&mut self, job: JobId, plan: RunPlan, replace: ReplaceScope, task: bool) {
        if self.change.is_some() || !self.stops.is_empty() {
            let reason = "another change of this app is under way".to_owned();
            self.out.push(CoreAction::Done {
                job,
                result: Err(ChangeRefusal { reason, blame: None, busy: true }),
            });
            return;
        }
        let release = plan.release;
        let phase = if task { ChangePhase::Task } else { ChangePhase::Beside };
        self.change =
            Some(AppChange { job, plan, fresh: Vec::new(), replace, phase, sent: None, failed: None });
        if task {
            self.out.push(CoreAction::Task { release, job });
        } else {
            self.start_beside();
        }
    }

    /// The places that get a new instance.
    fn wanted(&self) -> Vec<(InstanceName, super::ProcessType)> {
        let Some(change) = &self.change else { return Vec::new() };
        let keeps = |ps: &InstanceName| match &change.replace {
            ReplaceScope::All => false,
            ReplaceScope::Type(name) => ps.kind != *name && self.filled(ps),
            ReplaceScope::Missing => self.filled(ps),
        };
        change.plan.places().filter(|(ps, _)| !keeps(ps)).map(|(ps, kind)| (ps, kind.clone())).collect()
    }

    fn filled(&self, ps: &InstanceName) -> bool {
        self.instances.values().any(|one| one.live && !one.is_leaving() && one.ps == *ps)
    }

    /// Whether the place must wait until old workers have ended.
    fn waits(&self, ps: &InstanceName, kind: &super::ProcessType) -> bool {
        !kind.listens
            && !kind.overlap
            && self.instances.iter().any(|(id, one)| self.is_in_the_way(*id, one, ps))
    }

    /// Whether an old instance must end before a new plain worker may take the place: one of the same type, so that two
    /// releases never do the same job. A scaling adds workers beside their like.
    fn is_in_the_way(&self, id: InstanceId, one: &super::AppInstance, ps: &InstanceName) -> bool {
        let Some(change) = &self.change else { return false };
        let same =
            if change.replace == ReplaceScope::Missing { one.ps == *ps } else { one.ps.kind == ps.kind };
        same && !change.fresh.contains(&id)
    }

    fn start_beside(&mut self) {
        for (ps, kind) in self.wanted() {
            if !self.waits(&ps, &kind) {
                self.start_fresh(ps, &kind);
            }
        }
    }

    fn start_fresh(&mut self, ps: InstanceName, kind: &super::ProcessType) {
        let Some(plan) = self.change.as_ref().map(|change| change.plan.clone()) else { return };
        let id = self.create(ps, kind, &plan, false);
        if let Some(change) = &mut self.change {
            change.fresh.push(id);
        }
    }

    /// The places whose new instance has not been started yet.
    fn left(&self) -> Vec<(InstanceName, super::ProcessType)> {
        let Some(change) = &self.change else { return Vec::new() };
        let started = |ps: &InstanceName| {
            change.fresh.iter().any(|id| self.instances.get(id).is_some_and(|one| one.ps == *ps))
        };
        self.wanted().into_iter().filter(|(ps, _)| !started(ps)).collect()
    }

    pub(super) fn task_ended(&mut self, ended: Result<ProcessExit, String>) {
        let Some(change) = &mut self.change else { return };
        if change.phase != ChangePhase::Task {
            return;
        }
        change.phase = ChangePhase::Beside;
        let refusal = |reason| ChangeRefusal { reason, blame: None, busy: false };
        match ended {
            Ok(exit) if exit.is_success() => self.start_beside(),
            Ok(exit) => self.fail(refusal(format!("the release task {exit}"))),
            Err(reason) => self.fail(refusal(format!("cannot run the release task: {reason}"))),
        }
    }

    pub(super) fn switched(&mut self, result: Result<(), String>) {
        let Some(change) = self.change.take_if(|change| change.phase == ChangePhase::Switch) else { return };
        if let Err(reason) = result {
            // Requests may go to the new ones by now, and must not when those end.
            self.change = Some(change);
            self.set_phase(ChangePhase::Undo);
            self.is_routed = false;
            self.reroute();
            return self.fail(ChangeRefusal { reason, blame: None, busy: false });
        }
        // As it was told: somebody may have taken a port meanwhile.
        self.routed.clone_from(&change.sent);
        self.is_routed = true;
        // The new ones are the app now. Whatever else was is on its way out.
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
            self.retire(id);
            // The next supervisor must know that it is not what the app is.
            self.out.push(CoreAction::Record { id });
        }
        self.plan = Some(change.plan);
        self.out.push(CoreAction::Done { job: change.job, result: Ok(()) });
        self.reconcile();
    }

    /// Whether an instance gives way when the change is live.
    pub(super) fn is_replaced(&self, change: &AppChange, id: InstanceId, one: &super::AppInstance) -> bool {
        one.live
            && !change.fresh.contains(&id)
            && (one.release != change.plan.release
                || change.plan.place(&one.ps).is_none()
                || change.fresh.iter().any(|id| self.instances.get(id).is_some_and(|new| new.ps == one.ps)))
    }

    /// Whether the executor is about to say where requests go.
    pub(super) fn is_switching(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.phase == ChangePhase::Switch)
    }

    /// Ends the change: nothing of the new remains, then the old is whole again.
    pub(super) fn fail(&mut self, refusal: ChangeRefusal) {
        let Some(change) = &mut self.change else { return };
        if change.failed.is_some() {
            return;
        }
        change.failed = Some(refusal);
        if change.phase == ChangePhase::Task {
            self.out.push(CoreAction::KillTask);
        }
        change.phase = ChangePhase::Undo;
        for id in change.fresh.clone() {
            self.retire(id);
        }
    }

    /// Takes the change a step further where what it waited for has come.
    pub(super) fn advance(&mut self) {
        self.check_trials();
        while let Some(change) = &self.change {
            let all_up =
                change.fresh.iter().all(|id| self.instances.get(id).is_some_and(super::AppInstance::is_up));
            match change.phase {
                ChangePhase::Beside if all_up => {
                    let left = self.left();
                    if left.is_empty() {
                        self.switch();
                    } else {
                        self.hand_over(&left);
                    }
                }
                ChangePhase::Handover => {
                    let left = self.left();
                    if left.iter().any(|(ps, kind)| self.waits(ps, kind)) {
                        break;
                    }
                    self.set_phase(ChangePhase::After);
                    for (ps, kind) in left {
                        self.start_fresh(ps, &kind);
                    }
                }
                ChangePhase::After if all_up => self.switch(),
                ChangePhase::Undo if change.fresh.iter().all(|id| !self.instances.contains_key(id)) => {
                    let Some(change) = self.change.take() else { break };
                    let refusal = change.failed.unwrap_or(ChangeRefusal {
                        reason: String::new(),
                        blame: None,
                        busy: false,
                    });
                    self.reconcile();
                    self.out.push(CoreAction::Done { job: change.job, result: Err(refusal) });
                }
                _ => break,
            }
        }
        if !self.stops.is_empty() && self.instances.is_empty() && self.change.is_none() {
            for job in std::mem::take(&mut self.stops) {
                self.out.push(CoreAction::Done { job, result: Ok(()) });
            }
        }
    }

    fn set_phase(&mut self, phase: ChangePhase) {
        if let Some(change) = &mut self.change {
            change.phase = phase;
        }
    }

    fn switch(&mut self) {
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

    /// Stops the old plain workers, so that their successors never do the same job beside them.
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
                self.out.push(CoreAction::Say { job: change.job, line: ProgressLine::Step(text) });
            }
            self.stop(id);
        }
    }

    /// Instances on trial whose time is up.
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

    /// The time of an instance on trial is up; now it is known where it listens.
    pub(super) fn listens(&mut self, id: InstanceId, ports: &[u16]) {
        let Some(change) = self.change.as_ref().filter(|change| change.fresh.contains(&id)) else { return };
        let Some(one) = self.instances.get(&id) else { return };
        let InstanceState::Starting { last, patience, diagnosed: true, unannounced, .. } = &one.state else {
            return;
        };
        // Refused before it listened; the question that is under way was not.
        let silent = patience.is_some() && one.port.is_some_and(|port| ports.contains(&port));
        let last = last.as_ref().filter(|last| !(silent && **last == ProbeOutcome::Refused));
        let reason = why_not_ready(&change.plan, one, last, ports, *unannounced);
        self.fail(ChangeRefusal { reason, blame: Some(id), busy: false });
    }
}

/// Returns how long an answer may take, where that is less than the time until an instance must be ready.
fn in_time(timeout: Duration, limit: Duration) -> String {
    if timeout < limit {
        format!(" within {} s (HEALTHCHECK_TIMEOUT)", timeout.as_secs_f64())
    } else {
        String::new()
    }
}

/// Says what was asked, and what happened instead of an answer that is good enough.
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
