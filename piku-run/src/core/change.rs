//! A deploy, a restart, a scaling: new instances beside the old, all ready or all gone.

use std::time::Duration;

use piku_procfile::name::ProcessName;

use super::{Action, Core, Exit, Id, Job, Line, Outcome, Plan, Ps, Refusal, State};

/// Which of the running instances give way to new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replace {
    /// All.
    All,
    /// Those of one type.
    Type(ProcessName),
    /// None; only what is missing is started and what is too much is stopped.
    Missing,
}

/// A change under way.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) job: Job,
    /// What will be live.
    pub(super) plan: Plan,
    /// The instances on trial.
    pub(super) fresh: Vec<Id>,
    replace: Replace,
    phase: Phase,
    /// Where the executor was told to send requests.
    sent: Option<super::Route>,
    /// Why it failed.
    failed: Option<Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
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

impl Core {
    pub(super) fn begin(&mut self, job: Job, plan: Plan, replace: Replace, task: bool) {
        if self.change.is_some() || !self.stops.is_empty() {
            let reason = "another change of this app is under way".to_owned();
            self.out.push(Action::Done { job, result: Err(Refusal { reason, blame: None, busy: true }) });
            return;
        }
        let release = plan.release;
        let phase = if task { Phase::Task } else { Phase::Beside };
        self.change = Some(Change { job, plan, fresh: Vec::new(), replace, phase, sent: None, failed: None });
        if task {
            self.out.push(Action::Task { release, job });
        } else {
            self.start_beside();
        }
    }

    /// The places that get a new instance.
    fn wanted(&self) -> Vec<(Ps, super::Type)> {
        let Some(change) = &self.change else { return Vec::new() };
        let keeps = |ps: &Ps| match &change.replace {
            Replace::All => false,
            Replace::Type(name) => ps.kind != *name && self.filled(ps),
            Replace::Missing => self.filled(ps),
        };
        change.plan.places().filter(|(ps, _)| !keeps(ps)).map(|(ps, kind)| (ps, kind.clone())).collect()
    }

    fn filled(&self, ps: &Ps) -> bool {
        self.instances.values().any(|one| one.live && !one.is_leaving() && one.ps == *ps)
    }

    /// Whether the place must wait until old workers have ended.
    fn waits(&self, ps: &Ps, kind: &super::Type) -> bool {
        !kind.listens
            && !kind.overlap
            && self.instances.iter().any(|(id, one)| self.is_in_the_way(*id, one, ps))
    }

    /// Whether an old instance must end before a new plain worker may take the place: one of the same type, so that two
    /// releases never do the same job. A scaling adds workers beside their like.
    fn is_in_the_way(&self, id: Id, one: &super::Instance, ps: &Ps) -> bool {
        let Some(change) = &self.change else { return false };
        let same = if change.replace == Replace::Missing { one.ps == *ps } else { one.ps.kind == ps.kind };
        same && !change.fresh.contains(&id)
    }

    fn start_beside(&mut self) {
        for (ps, kind) in self.wanted() {
            if !self.waits(&ps, &kind) {
                self.start_fresh(ps, &kind);
            }
        }
    }

    fn start_fresh(&mut self, ps: Ps, kind: &super::Type) {
        let Some(plan) = self.change.as_ref().map(|change| change.plan.clone()) else { return };
        let id = self.create(ps, kind, &plan, false);
        if let Some(change) = &mut self.change {
            change.fresh.push(id);
        }
    }

    /// The places whose new instance has not been started yet.
    fn left(&self) -> Vec<(Ps, super::Type)> {
        let Some(change) = &self.change else { return Vec::new() };
        let started =
            |ps: &Ps| change.fresh.iter().any(|id| self.instances.get(id).is_some_and(|one| one.ps == *ps));
        self.wanted().into_iter().filter(|(ps, _)| !started(ps)).collect()
    }

    pub(super) fn task_ended(&mut self, ended: Result<Exit, String>) {
        let Some(change) = &mut self.change else { return };
        if change.phase != Phase::Task {
            return;
        }
        change.phase = Phase::Beside;
        let refusal = |reason| Refusal { reason, blame: None, busy: false };
        match ended {
            Ok(exit) if exit.is_success() => self.start_beside(),
            Ok(exit) => self.fail(refusal(format!("the release task {exit}"))),
            Err(reason) => self.fail(refusal(format!("cannot run the release task: {reason}"))),
        }
    }

    pub(super) fn switched(&mut self, result: Result<(), String>) {
        let Some(change) = self.change.take_if(|change| change.phase == Phase::Switch) else { return };
        if let Err(reason) = result {
            // Requests may go to the new ones by now, and must not when those end.
            self.change = Some(change);
            self.set_phase(Phase::Undo);
            self.is_routed = false;
            self.reroute();
            return self.fail(Refusal { reason, blame: None, busy: false });
        }
        // As it was told: somebody may have taken a port meanwhile.
        self.routed.clone_from(&change.sent);
        self.is_routed = true;
        // The new ones are the app now. Whatever else was is on its way out.
        let replaced: Vec<Id> = self
            .instances()
            .filter(|(id, one)| self.is_replaced(&change, *id, one))
            .map(|(id, _)| id)
            .collect();
        for id in &change.fresh {
            if let Some(one) = self.instances.get_mut(id) {
                one.live = true;
            }
            self.out.push(Action::Record { id: *id });
        }
        for id in replaced {
            self.retire(id);
            // The next supervisor must know that it is not what the app is.
            self.out.push(Action::Record { id });
        }
        self.plan = Some(change.plan);
        self.out.push(Action::Done { job: change.job, result: Ok(()) });
        self.reconcile();
    }

    /// Whether an instance gives way when the change is live.
    pub(super) fn is_replaced(&self, change: &Change, id: Id, one: &super::Instance) -> bool {
        one.live
            && !change.fresh.contains(&id)
            && (one.release != change.plan.release
                || change.plan.place(&one.ps).is_none()
                || change.fresh.iter().any(|id| self.instances.get(id).is_some_and(|new| new.ps == one.ps)))
    }

    /// Whether the executor is about to say where requests go.
    pub(super) fn is_switching(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.phase == Phase::Switch)
    }

    /// Ends the change: nothing of the new remains, then the old is whole again.
    pub(super) fn fail(&mut self, refusal: Refusal) {
        let Some(change) = &mut self.change else { return };
        if change.failed.is_some() {
            return;
        }
        change.failed = Some(refusal);
        if change.phase == Phase::Task {
            self.out.push(Action::KillTask);
        }
        change.phase = Phase::Undo;
        for id in change.fresh.clone() {
            self.retire(id);
        }
    }

    /// Takes the change a step further where what it waited for has come.
    pub(super) fn advance(&mut self) {
        self.check_trials();
        while let Some(change) = &self.change {
            let all_up =
                change.fresh.iter().all(|id| self.instances.get(id).is_some_and(super::Instance::is_up));
            match change.phase {
                Phase::Beside if all_up => {
                    let left = self.left();
                    if left.is_empty() {
                        self.switch();
                    } else {
                        self.hand_over(&left);
                    }
                }
                Phase::Handover => {
                    let left = self.left();
                    if left.iter().any(|(ps, kind)| self.waits(ps, kind)) {
                        break;
                    }
                    self.set_phase(Phase::After);
                    for (ps, kind) in left {
                        self.start_fresh(ps, &kind);
                    }
                }
                Phase::After if all_up => self.switch(),
                Phase::Undo if change.fresh.iter().all(|id| !self.instances.contains_key(id)) => {
                    let Some(change) = self.change.take() else { break };
                    let refusal =
                        change.failed.unwrap_or(Refusal { reason: String::new(), blame: None, busy: false });
                    self.reconcile();
                    self.out.push(Action::Done { job: change.job, result: Err(refusal) });
                }
                _ => break,
            }
        }
        if !self.stops.is_empty() && self.instances.is_empty() && self.change.is_none() {
            for job in std::mem::take(&mut self.stops) {
                self.out.push(Action::Done { job, result: Ok(()) });
            }
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        if let Some(change) = &mut self.change {
            change.phase = phase;
        }
    }

    fn switch(&mut self) {
        self.set_phase(Phase::Switch);
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
        self.out.push(Action::Switch { job, route });
    }

    /// Stops the old plain workers, so that their successors never do the same job beside them.
    fn hand_over(&mut self, left: &[(Ps, super::Type)]) {
        self.set_phase(Phase::Handover);
        let old: Vec<Id> = self
            .instances
            .iter()
            .filter(|(id, one)| one.live && left.iter().any(|(ps, _)| self.is_in_the_way(**id, one, ps)))
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            if let (Some(one), Some(change)) = (self.instances.get(&id), &self.change) {
                let text = format!("Stopping the old {}", one.ps);
                self.out.push(Action::Say { job: change.job, line: Line::Step(text) });
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
                State::Starting { since, diagnosed, .. } if !*diagnosed && *since + limit <= now => {
                    *diagnosed = true;
                    self.out.push(Action::Diagnose { id });
                }
                _ => {}
            }
        }
    }

    /// The time of an instance on trial is up; now it is known where it listens.
    pub(super) fn listens(&mut self, id: Id, ports: &[u16]) {
        let Some(change) = self.change.as_ref().filter(|change| change.fresh.contains(&id)) else { return };
        let Some(one) = self.instances.get(&id) else { return };
        let State::Starting { last, patience, diagnosed: true, unannounced, .. } = &one.state else { return };
        // Refused before it listened; the question that is under way was not.
        let silent = patience.is_some() && one.port.is_some_and(|port| ports.contains(&port));
        let last = last.as_ref().filter(|last| !(silent && **last == Outcome::Refused));
        let reason = why_not_ready(&change.plan, one, last, ports, *unannounced);
        self.fail(Refusal { reason, blame: Some(id), busy: false });
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
    plan: &Plan,
    one: &super::Instance,
    last: Option<&Outcome>,
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
        Some(Outcome::Http(status)) => {
            format!("{ps} was not healthy {within}: it answered {status} to {asked} on port {port}")
        }
        Some(Outcome::Failed(reason)) => format!("{ps} was not healthy {within}: {reason}"),
        Some(Outcome::Alive) => format!("{ps} was not healthy {within}"),
        Some(Outcome::Closed) => format!(
            "{ps} was not healthy {within}: it accepted {asked} on port {port} and closed the connection without \
             an answer"
        ),
        Some(Outcome::NotHttp) => format!(
            "{ps} was not healthy {within}: its answer to {asked} on port {port} is not HTTP/1 (an app that speaks \
             no HTTP says HEALTHCHECK=tcp)"
        ),
        Some(Outcome::Refused) if ports.contains(&port) => format!(
            "{ps} listens on port {port}, but not on 127.0.0.1: it must listen there ($BIND_ADDRESS) or on all addresses"
        ),
        Some(Outcome::Silent) | None => format!(
            "{ps} was not healthy {within}: it accepted {asked} on port {port} and did not answer{}",
            in_time(one.pace.timeout, limit)
        ),
        Some(Outcome::Refused) if others.is_empty() => {
            format!(
                "nothing listens on PORT {port} after {} s: {ps} must listen on the port in $PORT",
                limit.as_secs_f64()
            )
        }
        Some(Outcome::Refused) => {
            format!(
                "nothing listens on PORT {port}; the process listens on {} ({ps}, after {} s)",
                others.join(", "),
                limit.as_secs_f64()
            )
        }
    }
}
