//! The supervisor's state machine. Events and the time come in, actions come out; it starts no process,
//! opens no file and reads no clock, so its tests are plain functions.
//!
//! An instance is *live*, on trial as part of a change (deploy, restart, scaling), or leaving. A change is
//! all or nothing: once its instances are ready, the executor switches to them and only then stops the old
//! ones. If one of them fails, all new instances are stopped and the old ones keep running.

mod action;
mod backoff;
mod boot;
mod change;
mod cron;
mod event;
mod instance;
mod plan;
mod port;
mod ps;
mod readiness;
mod route;
mod startup;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use action::{ChangeError, CoreAction, ProgressLine};
pub(crate) use backoff::CrashBackoff;
pub(crate) use change::ReplaceScope;
pub(crate) use event::{CoreEvent, FoundWorker};
pub(crate) use instance::{
    AppInstance, ClientErrorReply, InstanceId, InstanceState, ProbeOutcome, ProcessExit,
};
pub(crate) use plan::{ProbePace, ProcessType, RunPlan, SETTLE, TrialRule};
pub(crate) use ps::InstanceName;
pub(crate) use route::AppRoute;
pub(crate) use startup::{ObservedProcess, StartObservation};

use change::AppChange;
use startup::StartupWatch;

/// Identifies the client request that started a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct JobId(pub(crate) u64);

/// Reaction to an instance that ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnExit {
    /// Start it again.
    Restart,
    /// Stop all other instances too, as a foreman in a terminal does.
    StopAll,
}

/// State machine of one app's instances.
#[derive(Debug)]
pub(crate) struct SupervisorCore {
    on_exit: OnExit,
    plan: Option<RunPlan>,
    instances: BTreeMap<InstanceId, AppInstance>,
    change: Option<AppChange>,
    stops: Vec<JobId>,
    /// Route that the executor was given last.
    routed: Option<AppRoute>,
    /// The executor has that route, and applying it has not failed.
    is_routed: bool,
    /// Time limit of connection draining.
    drain: Duration,
    next: u64,
    now: Duration,
    out: Vec<CoreAction>,
}

impl SupervisorCore {
    /// Creates the machine for an app of which nothing runs and nothing should run. `last` is the highest
    /// id ever used.
    #[must_use]
    pub(crate) fn new(on_exit: OnExit, last: InstanceId) -> Self {
        Self {
            on_exit,
            plan: None,
            instances: BTreeMap::new(),
            change: None,
            stops: Vec::new(),
            routed: None,
            is_routed: false,
            drain: Duration::from_secs(60),
            next: last.0 + 1,
            now: Duration::ZERO,
            out: Vec::new(),
        }
    }

    /// Sets the time limit of connection draining.
    pub(crate) fn set_drain(&mut self, limit: Duration) {
        self.drain = limit;
    }

    /// Handles an event at the monotonic time `now` and returns the actions to perform, in order.
    pub(crate) fn handle_event(&mut self, now: Duration, event: CoreEvent) -> Vec<CoreAction> {
        self.now = now;
        match event {
            CoreEvent::Boot { plan, found } => self.boot(plan, found),
            CoreEvent::Change { job, plan, replace, task } => self.begin_change(job, plan, replace, task),
            CoreEvent::Stop { job } => self.stop_all(job),
            CoreEvent::Spawned { id, port } => self.record_spawn(id, port),
            CoreEvent::SpawnFailed { id, reason } => self.handle_spawn_failure(id, &reason),
            CoreEvent::Exited { id, exit } => self.handle_exit(id, exit),
            CoreEvent::Probed { id, outcome } => self.handle_probe(id, outcome),
            CoreEvent::PortTaken { id, by } => self.port_taken(id, &by),
            CoreEvent::PortLost { id, by } => self.port_lost(id, &by),
            CoreEvent::Notified { id } => self.record_notification(id),
            CoreEvent::Observed { id, seen } => self.handle_observation(id, seen),
            CoreEvent::TaskEnded(ended) => self.task_ended(ended),
            CoreEvent::Switched(result) => self.finish_switch(result),
            CoreEvent::Drained { id } => self.finish_drain(id),
            CoreEvent::CronDue { kind } => self.start_cron_run(&kind),
            CoreEvent::Ending { id } => self.forget_readiness(id),
            CoreEvent::Tick => {}
        }
        self.expire_deadlines();
        self.advance_change();
        self.update_route();
        self.request_drains();
        std::mem::take(&mut self.out)
    }

    /// Returns the time by which [`CoreEvent::Tick`] must be sent if no other event comes first.
    #[must_use]
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let limit = self.change.as_ref().map_or(Duration::MAX / 2, |change| change.plan.ready_within);
        self.instances.values().filter_map(|instance| instance.next_deadline(limit)).min()
    }

    /// Iterates over all instances, including those on trial and leaving.
    #[must_use]
    pub(crate) fn instances(&self) -> impl DoubleEndedIterator<Item = (InstanceId, &AppInstance)> {
        self.instances.iter().map(|(id, instance)| (*id, instance))
    }

    #[must_use]
    pub(crate) fn instance(&self, id: InstanceId) -> Option<&AppInstance> {
        self.instances.get(&id)
    }

    /// Returns the live plan; `None` if the app is stopped or has no release.
    #[must_use]
    pub(crate) fn plan(&self) -> Option<&RunPlan> {
        self.plan.as_ref()
    }

    /// Returns whether a deploy, restart or scaling is in progress.
    #[must_use]
    pub(crate) fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Returns true if a change cannot begin: another one is in progress, or the app is being stopped.
    #[must_use]
    pub(crate) fn refuses_changes(&self) -> bool {
        self.change.is_some() || !self.stops.is_empty()
    }

    /// Returns whether nothing runs and no request is pending.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        self.instances.is_empty() && self.change.is_none() && self.stops.is_empty()
    }

    fn next_id(&mut self) -> InstanceId {
        self.next += 1;
        InstanceId(self.next - 1)
    }

    /// Adds an instance and starts its process.
    fn create_instance(
        &mut self,
        ps: InstanceName,
        kind: &ProcessType,
        plan: &RunPlan,
        live: bool,
    ) -> InstanceId {
        let id = self.next_id();
        let instance = AppInstance {
            ps,
            release: plan.release,
            must_listen: kind.must_listen,
            pinned: kind.pinned,
            trial: kind.trial,
            pace: ProbePace { announced: kind.notifies, ..plan.pace },
            port: None,
            live,
            routed: None,
            port_moves: 0,
            state: InstanceState::Killing,
            restarts: 0,
            last_exit: None,
            grace: plan.grace,
            backoff: CrashBackoff::default(),
            watch: StartupWatch::default(),
        };
        self.instances.insert(id, instance);
        self.spawn_instance(id);
        id
    }

    fn spawn_instance(&mut self, id: InstanceId) {
        self.mark_started(id);
        self.out.push(CoreAction::Spawn { id });
    }

    fn handle_spawn_failure(&mut self, id: InstanceId, reason: &str) {
        let Some(one) = self.instances.get(&id) else { return };
        let text = format!("cannot start {}: {reason}", one.ps);
        self.out.push(CoreAction::LogRemark { id, ps: one.ps.clone(), text: text.clone() });
        let on_trial = self.change.as_ref().is_some_and(|change| change.fresh.contains(&id));
        let is_once = matches!(one.state, InstanceState::CronRun { .. });
        if one.is_leaving() || is_once || on_trial || self.on_exit == OnExit::StopAll {
            self.forget_instance(id);
            if on_trial {
                self.fail_change(ChangeError::new(text));
            }
        } else {
            self.back_off(id, Duration::ZERO);
        }
        if self.on_exit == OnExit::StopAll {
            self.stop_everything();
        }
    }

    fn handle_exit(&mut self, id: InstanceId, exit: ProcessExit) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let uptime = one.running_since().map_or(Duration::ZERO, |since| self.now.saturating_sub(since));
        let was_ready = one.is_up();
        one.last_exit = Some(exit);
        let text = format!("{} {exit}", one.ps);
        self.out.push(CoreAction::LogRemark { id, ps: one.ps.clone(), text });
        if one.is_leaving() || matches!(one.state, InstanceState::CronRun { .. }) {
            self.forget_instance(id);
        } else if matches!(one.state, InstanceState::Moving { .. }) {
            one.restarts += u32::from(one.live);
            if one.port_moves > port::MAX_MOVES { self.back_off(id, uptime) } else { self.spawn_instance(id) }
        } else if self.change.as_ref().is_some_and(|change| change.fresh.contains(&id)) {
            self.handle_trial_exit(id, exit, uptime, was_ready);
        } else if self.on_exit == OnExit::StopAll {
            self.forget_instance(id);
            self.stop_everything();
        } else {
            self.back_off(id, uptime);
        }
    }

    fn back_off(&mut self, id: InstanceId, uptime: Duration) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let was_loop = one.is_crash_looping();
        let wait = one.backoff.record_crash(uptime, id.0);
        let has_begun = one.is_crash_looping();
        if was_loop != has_begun {
            let (ps, release) = (one.ps.clone(), one.release);
            self.out.push(CoreAction::ReportCrashLoop { ps, release, has_begun });
        }
        one.state = InstanceState::Backoff { until: now + wait };
        if wait > Duration::ZERO {
            let text = format!("{} is started again in {:.1} s", one.ps, wait.as_secs_f64());
            self.out.push(CoreAction::LogRemark { id, ps: one.ps.clone(), text });
        }
    }

    /// Asks an instance to end. An instance without a process is removed at once.
    fn stop_instance(&mut self, id: InstanceId) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        one.live = false;
        match one.state {
            InstanceState::Backoff { .. } => self.forget_instance(id),
            InstanceState::Stopping { .. } | InstanceState::Killing => {}
            // It has been signalled already; it must not start again.
            InstanceState::Moving { kill } => one.state = InstanceState::Stopping { kill },
            InstanceState::Starting { .. }
            | InstanceState::Ready { .. }
            | InstanceState::CronRun { .. }
            | InstanceState::Draining { .. } => {
                one.state = InstanceState::Stopping { kill: now + one.grace };
                self.out.push(CoreAction::Terminate { id });
            }
        }
    }

    fn stop_everything(&mut self) {
        let all: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in all {
            self.stop_instance(id);
        }
    }

    fn stop_all(&mut self, job: JobId) {
        self.plan = None;
        self.stops.push(job);
        self.update_route();
        self.fail_change(ChangeError::new("the app was stopped meanwhile"));
        self.stop_everything();
    }

    fn forget_instance(&mut self, id: InstanceId) {
        if let Some(one) = self.instances.remove(&id).filter(AppInstance::is_crash_looping) {
            let action = CoreAction::ReportCrashLoop { ps: one.ps, release: one.release, has_begun: false };
            self.out.push(action);
        }
        self.out.push(CoreAction::Forget { id });
    }

    /// Acts on every deadline that has passed.
    fn expire_deadlines(&mut self) {
        let now = self.now;
        let due: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in due {
            let Some(one) = self.instances.get_mut(&id) else { continue };
            if one.has_recovered(now) && one.backoff.reset() {
                let (ps, release) = (one.ps.clone(), one.release);
                self.out.push(CoreAction::ReportCrashLoop { ps, release, has_begun: false });
            }
            match &mut one.state {
                InstanceState::Starting { settled: Some(at), .. } if *at <= now => self.mark_ready(id, None),
                InstanceState::Starting { ask, patience, .. } if ask.is_some_and(|at| at <= now) => {
                    *ask = None;
                    *patience = Some(now + one.pace.timeout);
                    self.out.push(CoreAction::Probe { id });
                }
                InstanceState::Starting { patience: Some(until), .. } if *until <= now => {
                    self.handle_probe(id, ProbeOutcome::Silent);
                }
                InstanceState::Backoff { until } if *until <= now => {
                    one.restarts += 1;
                    self.spawn_instance(id);
                }
                InstanceState::Draining { until, .. } if *until <= now => {
                    let text = format!("{} still has requests, stopped", one.ps);
                    self.out.push(CoreAction::LogRemark { id, ps: one.ps.clone(), text });
                    self.stop_instance(id);
                }
                InstanceState::Moving { kill } if *kill <= now => {
                    *kill = now + one.grace.max(Duration::from_secs(1));
                    self.out.push(CoreAction::Kill { id });
                }
                InstanceState::Stopping { kill } if *kill <= now => {
                    one.state = InstanceState::Killing;
                    let text = format!("{} did not end within {} s, killed", one.ps, one.grace.as_secs());
                    self.out.push(CoreAction::LogRemark { id, ps: one.ps.clone(), text });
                    self.out.push(CoreAction::Kill { id });
                }
                _ => {}
            }
        }
    }
}
