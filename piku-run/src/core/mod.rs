//! The supervisor's mind: a state machine over values. What happened and the time come in, what to do comes out; it
//! starts no process, opens no file and knows no clock, so its tests are plain functions.
//!
//! One instance belongs to what is *live*, or is on trial as a part of a change (deploy, restart, scale), or is on its way
//! out. A change is all or nothing: when its instances are ready the executor switches, and only then the old ones
//! are stopped; when one of them is not, all of them go and the old ones never noticed.

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
mod route;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use action::{ChangeRefusal, CoreAction, ProgressLine};
pub use backoff::CrashBackoff;
pub use change::ReplaceScope;
pub use event::{CoreEvent, FoundWorker};
pub use instance::{AppInstance, InstanceId, InstanceState, ProbeOutcome, ProcessExit};
pub use plan::{ProbePace, ProcessType, RunPlan, SETTLE};
pub use ps::InstanceName;
pub use route::AppRoute;

use change::AppChange;

/// Whom to tell how a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// The time that a late answer is waited for before the question is given up and asked anew.
const LATE: Duration = Duration::from_secs(10);

/// What happens when a worker ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExit {
    /// It is started again.
    Restart,
    /// All others are stopped too: a foreman in somebody's terminal.
    StopAll,
}

/// The state.
#[derive(Debug)]
pub struct SupervisorCore {
    on_exit: OnExit,
    plan: Option<RunPlan>,
    instances: BTreeMap<InstanceId, AppInstance>,
    change: Option<AppChange>,
    stops: Vec<JobId>,
    /// Where requests go, as the executor was told last.
    routed: Option<AppRoute>,
    /// Whether it was told, and has not failed.
    is_routed: bool,
    /// How long an instance may go on with the requests that it has got, when it gets no new ones.
    drain: Duration,
    next: u64,
    now: Duration,
    out: Vec<CoreAction>,
}

impl SupervisorCore {
    /// Nothing runs, nothing should. `last` is the highest id that was ever given away.
    #[must_use]
    pub fn new(on_exit: OnExit, last: InstanceId) -> Self {
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

    /// How long an instance may go on with the requests that it has got, when it gets no new ones.
    pub fn set_drain(&mut self, limit: Duration) {
        self.drain = limit;
    }

    /// Takes in what happened at `now`, monotonic, and says what to do, in order.
    pub fn handle(&mut self, now: Duration, event: CoreEvent) -> Vec<CoreAction> {
        self.now = now;
        match event {
            CoreEvent::Boot { plan, found } => self.boot(plan, found),
            CoreEvent::Change { job, plan, replace, task } => self.begin(job, plan, replace, task),
            CoreEvent::Stop { job } => self.stop_all(job),
            CoreEvent::Spawned { id, port } => self.spawned(id, port),
            CoreEvent::SpawnFailed { id, reason } => self.spawn_failed(id, &reason),
            CoreEvent::Exited { id, exit } => self.exited(id, exit),
            CoreEvent::Probed { id, outcome } => self.probed(id, outcome),
            CoreEvent::PortTaken { id, by } => self.port_taken(id, &by),
            CoreEvent::PortLost { id, by } => self.port_lost(id, &by),
            CoreEvent::Notified { id } => self.notified(id),
            CoreEvent::Listens { id, ports } => self.listens(id, &ports),
            CoreEvent::TaskEnded(ended) => self.task_ended(ended),
            CoreEvent::Switched(result) => self.switched(result),
            CoreEvent::Drained { id } => self.drained(id),
            CoreEvent::Due { kind } => self.due(&kind),
            CoreEvent::Tick => {}
        }
        self.pass_time();
        self.advance();
        self.reroute();
        self.ask_for_drains();
        std::mem::take(&mut self.out)
    }

    /// When to call again with [`CoreEvent::Tick`], if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let limit = self.change.as_ref().map_or(Duration::MAX / 2, |change| change.plan.ready_within);
        self.instances.values().filter_map(|instance| instance.deadline(limit)).min()
    }

    /// All instances, also those on trial and on their way out.
    #[must_use]
    pub fn instances(&self) -> impl DoubleEndedIterator<Item = (InstanceId, &AppInstance)> {
        self.instances.iter().map(|(id, instance)| (*id, instance))
    }

    /// One instance.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&AppInstance> {
        self.instances.get(&id)
    }

    /// What is live.
    #[must_use]
    pub fn plan(&self) -> Option<&RunPlan> {
        self.plan.as_ref()
    }

    /// Whether a deploy, restart or scaling is under way.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Whether nothing runs and nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.instances.is_empty() && self.change.is_none() && self.stops.is_empty()
    }

    fn next_id(&mut self) -> InstanceId {
        self.next += 1;
        InstanceId(self.next - 1)
    }

    /// A new instance, its process on its way.
    fn create(&mut self, ps: InstanceName, kind: &ProcessType, plan: &RunPlan, live: bool) -> InstanceId {
        let id = self.next_id();
        let instance = AppInstance {
            ps,
            release: plan.release,
            listens: kind.listens,
            pace: ProbePace { announced: kind.notifies, ..plan.pace },
            port: None,
            live,
            routed: None,
            moves: 0,
            state: InstanceState::Killing,
            restarts: 0,
            last_exit: None,
            grace: plan.grace,
            backoff: CrashBackoff::default(),
        };
        self.instances.insert(id, instance);
        self.spawn(id);
        id
    }

    fn spawn(&mut self, id: InstanceId) {
        self.mark_started(id);
        self.out.push(CoreAction::Spawn { id });
    }

    fn mark_started(&mut self, id: InstanceId) {
        let since = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let unannounced = one.pace.announced;
        let settled = (!one.listens && !unannounced).then_some(since + SETTLE);
        one.state = InstanceState::Starting {
            since,
            ask: None,
            patience: None,
            unannounced,
            settled,
            last: None,
            diagnosed: false,
        };
    }

    fn spawned(&mut self, id: InstanceId, port: Option<u16>) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        one.port = port;
        self.ask_soon(id);
        let Some(one) = self.instances.get(&id) else { return };
        let text = match port {
            Some(port) => format!("Starting {} on port {port}", one.ps),
            None => format!("Starting {}", one.ps),
        };
        if let Some(change) = self.change.as_ref().filter(|change| change.fresh.contains(&id)) {
            self.out.push(CoreAction::Say { job: change.job, line: ProgressLine::Step(text) });
        }
    }

    /// It has a process now and, where it listens, a port to ask at.
    fn ask_soon(&mut self, id: InstanceId) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id).filter(|one| one.listens) else { return };
        if let InstanceState::Starting { ask, unannounced: false, .. } = &mut one.state {
            *ask = Some(now);
        }
    }

    /// It says that it is ready. Where it can be asked it is asked too: nginx will send it requests.
    fn notified(&mut self, id: InstanceId) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let InstanceState::Starting { unannounced, .. } = &mut one.state else { return };
        if !std::mem::take(unannounced) {
            return;
        }
        if one.listens { self.ask_soon(id) } else { self.ready(id) }
    }

    fn spawn_failed(&mut self, id: InstanceId, reason: &str) {
        let Some(one) = self.instances.get(&id) else { return };
        let text = format!("cannot start {}: {reason}", one.ps);
        self.out.push(CoreAction::Remark { id, ps: one.ps.clone(), text: text.clone() });
        let on_trial = self.change.as_ref().is_some_and(|change| change.fresh.contains(&id));
        let is_once = matches!(one.state, InstanceState::Once { .. });
        if one.is_leaving() || is_once || on_trial || self.on_exit == OnExit::StopAll {
            self.forget(id);
            if on_trial {
                self.fail(ChangeRefusal { reason: text, blame: None, busy: false });
            }
        } else {
            self.back_off(id, Duration::ZERO);
        }
        if self.on_exit == OnExit::StopAll {
            self.stop_everything();
        }
    }

    fn exited(&mut self, id: InstanceId, exit: ProcessExit) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let uptime = one.since().map_or(Duration::ZERO, |since| self.now.saturating_sub(since));
        let was_ready = one.is_up();
        one.last_exit = Some(exit);
        let text = format!("{} {exit}", one.ps);
        self.out.push(CoreAction::Remark { id, ps: one.ps.clone(), text: text.clone() });
        if one.is_leaving() || matches!(one.state, InstanceState::Once { .. }) {
            self.forget(id);
        } else if matches!(one.state, InstanceState::Moving { .. }) {
            one.restarts += u32::from(one.live);
            if one.moves > port::MAX_MOVES { self.back_off(id, uptime) } else { self.spawn(id) }
        } else if self.change.as_ref().is_some_and(|change| change.fresh.contains(&id)) {
            let when = if was_ready { "before the others were" } else { "before it was" };
            self.forget(id);
            self.fail(ChangeRefusal { reason: format!("{text} {when} ready"), blame: Some(id), busy: false });
        } else if self.on_exit == OnExit::StopAll {
            self.forget(id);
            self.stop_everything();
        } else {
            self.back_off(id, uptime);
        }
    }

    fn back_off(&mut self, id: InstanceId, uptime: Duration) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let wait = one.backoff.crashed(uptime, id.0);
        one.state = InstanceState::Waiting { until: now + wait };
        if wait > Duration::ZERO {
            let text = format!("{} is started again in {:.1} s", one.ps, wait.as_secs_f64());
            self.out.push(CoreAction::Remark { id, ps: one.ps.clone(), text });
        }
    }

    fn probed(&mut self, id: InstanceId, outcome: ProbeOutcome) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let InstanceState::Starting { since, ask, patience, last, .. } = &mut one.state else { return };
        // Asked more and more seldom: a tenth of what it has taken so far is lost at most.
        let pause = one.pace.interval.unwrap_or_else(|| {
            (now.saturating_sub(*since) / 10).clamp(Duration::from_millis(10), Duration::from_secs(2))
        });
        let is_late = patience.take().is_none();
        match outcome {
            // Asked again: the first answer of a program that loads as it is asked says little of the second.
            ProbeOutcome::Alive if is_late => {
                *ask = Some(now);
                return;
            }
            ProbeOutcome::Alive => return self.ready(id),
            // The connection stays open for a while: a program with one thread is not to find a queue of questions that nobody
            // waits for any more.
            ProbeOutcome::Silent => *ask = Some(now + pause.max(LATE)),
            _ => *ask = Some(now + pause),
        }
        // Of all answers the one that tells most is remembered.
        if outcome != ProbeOutcome::Silent || matches!(last, None | Some(ProbeOutcome::Refused)) {
            *last = Some(outcome);
        }
    }

    fn ready(&mut self, id: InstanceId) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let InstanceState::Starting { since, .. } = one.state else { return };
        one.state = InstanceState::Up { since };
        one.moves = 0;
        if one.live {
            one.routed = one.port;
        }
        let text = format!(
            "{} is {} after {:.1} s",
            one.ps,
            one.ready_word(),
            self.now.saturating_sub(since).as_secs_f64()
        );
        if let Some(change) = self.change.as_ref().filter(|change| change.fresh.contains(&id)) {
            self.out.push(CoreAction::Say { job: change.job, line: ProgressLine::Detail(text) });
        }
        self.out.push(CoreAction::Record { id });
    }

    /// Asks an instance to end; one without a process is gone at once.
    fn stop(&mut self, id: InstanceId) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        one.live = false;
        match one.state {
            InstanceState::Waiting { .. } => self.forget(id),
            InstanceState::Stopping { .. } | InstanceState::Killing => {}
            // Told already, and not to come back.
            InstanceState::Moving { kill } => one.state = InstanceState::Stopping { kill },
            InstanceState::Starting { .. }
            | InstanceState::Up { .. }
            | InstanceState::Once { .. }
            | InstanceState::Draining { .. } => {
                one.state = InstanceState::Stopping { kill: now + one.grace };
                self.out.push(CoreAction::Terminate { id });
            }
        }
    }

    fn stop_everything(&mut self) {
        let all: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in all {
            self.stop(id);
        }
    }

    fn stop_all(&mut self, job: JobId) {
        self.plan = None;
        self.stops.push(job);
        self.reroute();
        self.fail(ChangeRefusal {
            reason: "the app was stopped meanwhile".to_owned(),
            blame: None,
            busy: false,
        });
        self.stop_everything();
    }

    fn forget(&mut self, id: InstanceId) {
        self.instances.remove(&id);
        self.out.push(CoreAction::Forget { id });
    }

    /// What is due by now.
    fn pass_time(&mut self) {
        let now = self.now;
        let due: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in due {
            let Some(one) = self.instances.get_mut(&id) else { continue };
            match &mut one.state {
                InstanceState::Starting { settled: Some(at), .. } if *at <= now => self.ready(id),
                InstanceState::Starting { ask, patience, .. } if ask.is_some_and(|at| at <= now) => {
                    *ask = None;
                    *patience = Some(now + one.pace.timeout);
                    self.out.push(CoreAction::Probe { id });
                }
                InstanceState::Starting { patience: Some(until), .. } if *until <= now => {
                    self.probed(id, ProbeOutcome::Silent);
                }
                InstanceState::Waiting { until } if *until <= now => {
                    one.restarts += 1;
                    self.spawn(id);
                }
                InstanceState::Draining { until, .. } if *until <= now => {
                    let text = format!("{} still has requests, stopped", one.ps);
                    self.out.push(CoreAction::Remark { id, ps: one.ps.clone(), text });
                    self.stop(id);
                }
                InstanceState::Moving { kill } if *kill <= now => {
                    *kill = now + one.grace.max(Duration::from_secs(1));
                    self.out.push(CoreAction::Kill { id });
                }
                InstanceState::Stopping { kill } if *kill <= now => {
                    one.state = InstanceState::Killing;
                    let text = format!("{} did not end within {} s, killed", one.ps, one.grace.as_secs());
                    self.out.push(CoreAction::Remark { id, ps: one.ps.clone(), text });
                    self.out.push(CoreAction::Kill { id });
                }
                _ => {}
            }
        }
    }
}
