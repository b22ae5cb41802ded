//! The supervisor's mind: a state machine over values. What happened and the time come in, what to do comes out; it
//! starts no process, opens no file and knows no clock, so its tests are plain functions.
//!
//! One instance belongs to what is *live*, or is on trial as a part of a change (deploy, restart, scale), or is on its way
//! out. A change is all or nothing: when its instances are ready the executor switches, and only then the old ones
//! are stopped; when one of them is not, all of them go and the old ones never noticed.

mod backoff;
mod change;
mod cron;
mod instance;
mod plan;
mod ps;
mod route;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use piku_procfile::name::ProcessName;

pub use backoff::Backoff;
pub use change::Replace;
pub use instance::{Exit, Id, Instance, Outcome, State};
pub use plan::{Pace, Plan, SETTLE, Type};
pub use ps::Ps;
pub use route::Route;

use change::Change;

/// Whom to tell how a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job(pub u64);

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The beginning, once: what should run, and what was found running.
    Boot {
        /// What should run; nothing when there is no release yet or the app was stopped.
        plan: Option<Plan>,
        /// The living workers of the supervisor before this one.
        found: Vec<Found>,
    },
    /// A deploy, restart or scaling is asked for.
    Change {
        /// Who asks.
        job: Job,
        /// What should run afterwards.
        plan: Plan,
        /// Which of the running instances give way.
        replace: Replace,
        /// Whether the release has a task to run first.
        task: bool,
    },
    /// Everything is to end and stay ended.
    Stop {
        /// Who asks.
        job: Job,
    },
    /// The process of an instance was started.
    Spawned {
        /// Which.
        id: Id,
        /// Its port, where it has one.
        port: Option<u16>,
    },
    /// It could not be started.
    SpawnFailed {
        /// Which.
        id: Id,
        /// Why, in words.
        reason: String,
    },
    /// The process of an instance, and everything it had started, has ended.
    Exited {
        /// Which.
        id: Id,
        /// How.
        exit: Exit,
    },
    /// The answer to [`Action::Probe`].
    Probed {
        /// Which.
        id: Id,
        /// What it told.
        outcome: Outcome,
    },
    /// An instance has said that it is ready.
    Notified {
        /// Which.
        id: Id,
    },
    /// The answer to [`Action::Diagnose`].
    Listens {
        /// Which.
        id: Id,
        /// The ports that its processes listen on.
        ports: Vec<u16>,
    },
    /// The answer to [`Action::Task`]; an error when it could not be started.
    TaskEnded(Result<Exit, String>),
    /// The answer to [`Action::Switch`].
    Switched(Result<(), String>),
    /// The answer to [`Action::Drain`].
    Drained {
        /// Which.
        id: Id,
    },
    /// The time of a cron type has come.
    Due {
        /// Which.
        kind: ProcessName,
    },
    /// Nothing but that time has passed.
    Tick,
}

/// A living worker that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its id.
    pub id: Id,
    /// The place it fills.
    pub ps: Ps,
    /// Its release.
    pub release: u64,
    /// Its port.
    pub port: Option<u16>,
    /// Whether it was part of what the app is.
    pub live: bool,
    /// Whether it was ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// For how long it has run.
    pub uptime: Duration,
    /// Whether it is a cron's run.
    pub once: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start the process of an instance; answered at once by `Spawned` or `SpawnFailed`.
    Spawn {
        /// Which.
        id: Id,
    },
    /// Run the release task; answered by `TaskEnded`.
    Task {
        /// Of which release.
        release: u64,
        /// For whom.
        job: Job,
    },
    /// End the release task.
    KillTask,
    /// Ask an instance whether it is alive; answered by `Probed`. A question that is under way is over.
    Probe {
        /// Which.
        id: Id,
    },
    /// Find out where an instance listens; answered by `Listens`.
    Diagnose {
        /// Which.
        id: Id,
    },
    /// SIGTERM to the worker's group.
    Terminate {
        /// Which.
        id: Id,
    },
    /// SIGKILL to everything it ever started.
    Kill {
        /// Which.
        id: Id,
    },
    /// It is gone for good: its port is free, its record is void.
    Forget {
        /// Which.
        id: Id,
    },
    /// An instance has become part of what the app is, or ready: worth writing down.
    Record {
        /// Which.
        id: Id,
    },
    /// Send requests to what will be live, and make it so on disk (`current`, formation); answered by `Switched`.
    Switch {
        /// For whom.
        job: Job,
        /// Where requests go from now on.
        route: Route,
    },
    /// Send requests there, or nowhere; no answer. Comes before what they must no longer reach is told to end.
    Route(Option<Route>),
    /// Find out when no request is under way to an instance that gets no new ones; answered by `Drained`.
    Drain {
        /// Which.
        id: Id,
    },
    /// A line of progress.
    Say {
        /// To whom.
        job: Job,
        /// The line.
        line: Line,
    },
    /// A remark in an instance's own log.
    Remark {
        /// Which; it may be forgotten by now.
        id: Id,
        /// Its place, after which the log is named.
        ps: Ps,
        /// The text.
        text: String,
    },
    /// The command has ended.
    Done {
        /// Whose.
        job: Job,
        /// How.
        result: Result<(), Refusal>,
    },
}

/// A line of talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A step: `-----> …`.
    Step(String),
    /// A detail of the step before.
    Detail(String),
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// The instance whose last log lines tell more.
    pub blame: Option<Id>,
    /// Whether the same command may succeed a little later.
    pub busy: bool,
}

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
pub struct Core {
    on_exit: OnExit,
    plan: Option<Plan>,
    instances: BTreeMap<Id, Instance>,
    change: Option<Change>,
    stops: Vec<Job>,
    /// Where requests go, as the executor was told last.
    routed: Option<Route>,
    /// Whether it was told, and has not failed.
    is_routed: bool,
    /// How long an instance may go on with the requests that it has got, when it gets no new ones.
    drain: Duration,
    next: u64,
    now: Duration,
    out: Vec<Action>,
}

impl Core {
    /// Nothing runs, nothing should. `last` is the highest id that was ever given away.
    #[must_use]
    pub fn new(on_exit: OnExit, last: Id) -> Self {
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
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = now;
        match event {
            Event::Boot { plan, found } => self.boot(plan, found),
            Event::Change { job, plan, replace, task } => self.begin(job, plan, replace, task),
            Event::Stop { job } => self.stop_all(job),
            Event::Spawned { id, port } => self.spawned(id, port),
            Event::SpawnFailed { id, reason } => self.spawn_failed(id, &reason),
            Event::Exited { id, exit } => self.exited(id, exit),
            Event::Probed { id, outcome } => self.probed(id, outcome),
            Event::Notified { id } => self.notified(id),
            Event::Listens { id, ports } => self.listens(id, &ports),
            Event::TaskEnded(ended) => self.task_ended(ended),
            Event::Switched(result) => self.switched(result),
            Event::Drained { id } => self.drained(id),
            Event::Due { kind } => self.due(&kind),
            Event::Tick => {}
        }
        self.pass_time();
        self.advance();
        self.reroute();
        self.ask_for_drains();
        std::mem::take(&mut self.out)
    }

    /// When to call again with [`Event::Tick`], if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let limit = self.change.as_ref().map_or(Duration::MAX / 2, |change| change.plan.ready_within);
        self.instances.values().filter_map(|instance| instance.deadline(limit)).min()
    }

    /// All instances, also those on trial and on their way out.
    #[must_use]
    pub fn instances(&self) -> impl DoubleEndedIterator<Item = (Id, &Instance)> {
        self.instances.iter().map(|(id, instance)| (*id, instance))
    }

    /// One instance.
    #[must_use]
    pub fn instance(&self, id: Id) -> Option<&Instance> {
        self.instances.get(&id)
    }

    /// What is live.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
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

    fn boot(&mut self, plan: Option<Plan>, found: Vec<Found>) {
        self.next = self.next.max(1 + found.iter().map(|found| found.id.0).max().unwrap_or(0));
        let grace = plan.as_ref().map_or(Duration::from_secs(10), |plan| plan.grace);
        let asked = plan.as_ref().map_or_else(Pace::default, |plan| plan.pace);
        self.plan = plan;
        // What was live is kept before what was on trial, and of two the older one.
        let mut found = found;
        found.sort_by_key(|found| (!found.live, found.id));
        for one in found {
            let place = self.plan.as_ref().filter(|plan| plan.release == one.release);
            let listens = place.and_then(|plan| plan.place(&one.ps)).map(|kind| kind.listens);
            let taken =
                self.instances.values().any(|other| other.ps == one.ps && other.live && !other.is_leaving());
            let since = self.now.saturating_sub(one.uptime);
            let keep = listens.filter(|_| !taken);
            let instance = Instance {
                ps: one.ps,
                release: one.release,
                listens: listens.unwrap_or(one.port.is_some()),
                // What it said to the supervisor before this one is not known.
                pace: asked,
                port: one.port,
                live: keep.is_some(),
                state: State::Up { since },
                served: one.ready,
                restarts: one.restarts,
                last_exit: None,
                grace,
                backoff: Backoff::default(),
            };
            self.instances.insert(one.id, instance);
            if one.once && self.plan.is_some() {
                if let Some(one) = self.instances.get_mut(&one.id) {
                    one.state = State::Once { since };
                }
                continue;
            }
            if keep.is_none() {
                // Also where it was on trial: requests may have been sent there just before the end of who knew.
                self.retire(one.id);
                continue;
            }
            if !one.ready {
                self.mark_started(one.id);
                self.ask_soon(one.id);
            }
            if !one.live {
                self.out.push(Action::Record { id: one.id });
            }
        }
        self.reconcile();
    }

    /// Starts what the live plan has and nobody fills; stops what it has not. Not during a change.
    fn reconcile(&mut self) {
        let Some(plan) = self.plan.clone() else { return };
        let surplus: Vec<Id> = self
            .instances()
            .filter(|(_, one)| one.live && !one.is_leaving())
            .filter(|(_, one)| one.release != plan.release || plan.place(&one.ps).is_none())
            .map(|(id, _)| id)
            .collect();
        for id in surplus {
            self.retire(id);
        }
        for (ps, kind) in plan.places() {
            let filled = self.instances.values().any(|one| one.live && !one.is_leaving() && one.ps == ps);
            if !filled {
                self.create(ps, kind, &plan, true);
            }
        }
    }

    fn next_id(&mut self) -> Id {
        self.next += 1;
        Id(self.next - 1)
    }

    /// A new instance, its process on its way.
    fn create(&mut self, ps: Ps, kind: &Type, plan: &Plan, live: bool) -> Id {
        let id = self.next_id();
        let instance = Instance {
            ps,
            release: plan.release,
            listens: kind.listens,
            pace: Pace { announced: kind.notifies, ..plan.pace },
            port: None,
            live,
            state: State::Killing,
            served: false,
            restarts: 0,
            last_exit: None,
            grace: plan.grace,
            backoff: Backoff::default(),
        };
        self.instances.insert(id, instance);
        self.spawn(id);
        id
    }

    fn spawn(&mut self, id: Id) {
        self.mark_started(id);
        self.out.push(Action::Spawn { id });
    }

    fn mark_started(&mut self, id: Id) {
        let since = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let unannounced = one.pace.announced;
        let settled = (!one.listens && !unannounced).then_some(since + SETTLE);
        one.state = State::Starting {
            since,
            ask: None,
            patience: None,
            unannounced,
            settled,
            last: None,
            diagnosed: false,
        };
    }

    fn spawned(&mut self, id: Id, port: Option<u16>) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        one.port = port;
        self.ask_soon(id);
        let Some(one) = self.instances.get(&id) else { return };
        let text = match port {
            Some(port) => format!("Starting {} on port {port}", one.ps),
            None => format!("Starting {}", one.ps),
        };
        if let Some(change) = self.change.as_ref().filter(|change| change.fresh.contains(&id)) {
            self.out.push(Action::Say { job: change.job, line: Line::Step(text) });
        }
    }

    /// It has a process now and, where it listens, a port to ask at.
    fn ask_soon(&mut self, id: Id) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id).filter(|one| one.listens) else { return };
        if let State::Starting { ask, unannounced: false, .. } = &mut one.state {
            *ask = Some(now);
        }
    }

    /// It says that it is ready. Where it can be asked it is asked too: nginx will send it requests.
    fn notified(&mut self, id: Id) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let State::Starting { unannounced, .. } = &mut one.state else { return };
        if !std::mem::take(unannounced) {
            return;
        }
        if one.listens { self.ask_soon(id) } else { self.ready(id) }
    }

    fn spawn_failed(&mut self, id: Id, reason: &str) {
        let Some(one) = self.instances.get(&id) else { return };
        let text = format!("cannot start {}: {reason}", one.ps);
        self.out.push(Action::Remark { id, ps: one.ps.clone(), text: text.clone() });
        let on_trial = self.change.as_ref().is_some_and(|change| change.fresh.contains(&id));
        let is_once = matches!(one.state, State::Once { .. });
        if one.is_leaving() || is_once || on_trial || self.on_exit == OnExit::StopAll {
            self.forget(id);
            if on_trial {
                self.fail(Refusal { reason: text, blame: None, busy: false });
            }
        } else {
            self.back_off(id, Duration::ZERO);
        }
        if self.on_exit == OnExit::StopAll {
            self.stop_everything();
        }
    }

    fn exited(&mut self, id: Id, exit: Exit) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let uptime = one.since().map_or(Duration::ZERO, |since| self.now.saturating_sub(since));
        let was_ready = one.is_up();
        one.last_exit = Some(exit);
        let text = format!("{} {exit}", one.ps);
        self.out.push(Action::Remark { id, ps: one.ps.clone(), text: text.clone() });
        if one.is_leaving() || matches!(one.state, State::Once { .. }) {
            self.forget(id);
        } else if self.change.as_ref().is_some_and(|change| change.fresh.contains(&id)) {
            let when = if was_ready { "before the others were" } else { "before it was" };
            self.forget(id);
            self.fail(Refusal { reason: format!("{text} {when} ready"), blame: Some(id), busy: false });
        } else if self.on_exit == OnExit::StopAll {
            self.forget(id);
            self.stop_everything();
        } else {
            self.back_off(id, uptime);
        }
    }

    fn back_off(&mut self, id: Id, uptime: Duration) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let wait = one.backoff.crashed(uptime, id.0);
        one.state = State::Waiting { until: now + wait };
        if wait > Duration::ZERO {
            let text = format!("{} is started again in {:.1} s", one.ps, wait.as_secs_f64());
            self.out.push(Action::Remark { id, ps: one.ps.clone(), text });
        }
    }

    fn probed(&mut self, id: Id, outcome: Outcome) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        let State::Starting { since, ask, patience, settled, last, .. } = &mut one.state else { return };
        // Asked more and more seldom: a tenth of what it has taken so far is lost at most.
        let pause = one.pace.interval.unwrap_or_else(|| {
            (now.saturating_sub(*since) / 10).clamp(Duration::from_millis(10), Duration::from_secs(2))
        });
        *patience = None;
        match outcome {
            Outcome::Alive => return self.ready(id),
            Outcome::NotHttp => {
                settled.get_or_insert(now + SETTLE);
            }
            _ => *settled = None,
        }
        if settled.is_none() {
            *ask = Some(now + pause);
        }
        // Of all answers the one that tells most is remembered.
        if outcome != Outcome::Silent || matches!(last, None | Some(Outcome::Refused)) {
            *last = Some(outcome);
        }
    }

    fn ready(&mut self, id: Id) {
        let Some(one) = self.instances.get_mut(&id) else { return };
        let State::Starting { since, .. } = one.state else { return };
        one.state = State::Up { since };
        one.served |= one.live;
        let text = format!(
            "{} is {} after {:.1} s",
            one.ps,
            one.ready_word(),
            self.now.saturating_sub(since).as_secs_f64()
        );
        if let Some(change) = self.change.as_ref().filter(|change| change.fresh.contains(&id)) {
            self.out.push(Action::Say { job: change.job, line: Line::Detail(text) });
        }
        self.out.push(Action::Record { id });
    }

    /// Asks an instance to end; one without a process is gone at once.
    fn stop(&mut self, id: Id) {
        let now = self.now;
        let Some(one) = self.instances.get_mut(&id) else { return };
        one.live = false;
        match one.state {
            State::Waiting { .. } => self.forget(id),
            State::Stopping { .. } | State::Killing => {}
            State::Starting { .. } | State::Up { .. } | State::Once { .. } | State::Draining { .. } => {
                one.state = State::Stopping { kill: now + one.grace };
                self.out.push(Action::Terminate { id });
            }
        }
    }

    fn stop_everything(&mut self) {
        let all: Vec<Id> = self.instances.keys().copied().collect();
        for id in all {
            self.stop(id);
        }
    }

    fn stop_all(&mut self, job: Job) {
        self.plan = None;
        self.stops.push(job);
        self.reroute();
        self.fail(Refusal { reason: "the app was stopped meanwhile".to_owned(), blame: None, busy: false });
        self.stop_everything();
    }

    fn forget(&mut self, id: Id) {
        self.instances.remove(&id);
        self.out.push(Action::Forget { id });
    }

    /// What is due by now.
    fn pass_time(&mut self) {
        let now = self.now;
        let due: Vec<Id> = self.instances.keys().copied().collect();
        for id in due {
            let Some(one) = self.instances.get_mut(&id) else { continue };
            match &mut one.state {
                State::Starting { settled: Some(at), .. } if *at <= now => self.ready(id),
                State::Starting { ask, patience, .. } if ask.is_some_and(|at| at <= now) => {
                    *ask = None;
                    *patience = Some(now + one.pace.timeout);
                    self.out.push(Action::Probe { id });
                }
                State::Starting { patience: Some(until), .. } if *until <= now => {
                    self.probed(id, Outcome::Silent);
                }
                State::Waiting { until } if *until <= now => {
                    one.restarts += 1;
                    self.spawn(id);
                }
                State::Draining { until, .. } if *until <= now => {
                    let text = format!("{} still has requests, stopped", one.ps);
                    self.out.push(Action::Remark { id, ps: one.ps.clone(), text });
                    self.stop(id);
                }
                State::Stopping { kill } if *kill <= now => {
                    one.state = State::Killing;
                    let text = format!("{} did not end within {} s, killed", one.ps, one.grace.as_secs());
                    self.out.push(Action::Remark { id, ps: one.ps.clone(), text });
                    self.out.push(Action::Kill { id });
                }
                _ => {}
            }
        }
    }
}
