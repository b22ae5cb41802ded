//! Instances on trial that are not ready yet: a fact is reported as soon as it is known, once, and again in
//! the error if the instance does not become ready in time.

mod reasons;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::SupervisorCore;
use super::{ChangeError, CoreAction, InstanceId, InstanceState, ProgressLine};
use reasons::{describe_finding, explain_unready, find_facts};

/// Age of an instance at the first look at its processes.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(1);
/// The same for an instance without health check, which is ready once it has nothing to do.
pub(super) const IDLE_LOOK: Duration = Duration::from_millis(100);
/// Number of looks in a row that must find nothing to do.
const IDLE_LOOKS: u32 = 2;
/// Ages in seconds from which a start is called slow, once each.
const SLOW: [u64; 4] = [5, 30, 120, 600];
/// Largest number of findings that are reported of an instance, which an app could vary without end.
const MAX_TOLD: usize = 8;
/// Number of replaced processes from which an instance is said to start its processes again and again.
const RESPAWNS: u32 = 2;
/// Share of one processor from which a starting instance counts as working.
const WORKING: f64 = 0.2;

/// The processes of a starting instance at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StartObservation {
    /// TCP sockets on which it listens, by port.
    pub(crate) listeners: Vec<SocketAddr>,
    /// Processor time that its processes have used.
    pub(crate) cpu: Duration,
    /// There are processes, and all of them sleep: none waits for a disk.
    pub(crate) is_asleep: bool,
    /// A process wants to run: it runs, or waits for a processor.
    pub(crate) is_runnable: bool,
    /// A process waits for a disk.
    pub(crate) waits_for_disk: bool,
    pub(crate) processes: Vec<ObservedProcess>,
}

impl StartObservation {
    /// Returns whether nothing has happened since this look.
    fn is_idle_until(&self, later: &Self) -> bool {
        later.is_asleep && (self.cpu, &self.processes) == (later.cpu, &later.processes)
    }
}

/// A process of a starting instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObservedProcess {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// Name of its program, at most 15 bytes.
    pub(crate) name: String,
}

/// A fact about an instance that is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StartFinding {
    /// It answers with this status.
    Status(u16),
    /// It closes connections or does not speak HTTP.
    BadAnswer,
    OtherPort,
    OtherAddress,
    /// Its processes end and are started again by itself.
    Respawns,
    /// It accepted a check and has not answered.
    NoAnswer(usize),
    /// It does not listen, or has not sent `READY=1`.
    Slow(usize),
}

/// Observations of an instance on trial.
#[derive(Debug, Clone, Default)]
pub(crate) struct StartupWatch {
    /// Time of the next look; `None` for an instance that is not on trial.
    pub(super) next: Option<Duration>,
    pause: Duration,
    seen: Option<(Duration, StartObservation)>,
    /// Share of one processor that it used between the last two looks.
    load: f64,
    /// Looks in a row at which it had nothing to do.
    idle: u32,
    replaced: u32,
    /// Program of the processes that were replaced.
    replaced_name: String,
    told: BTreeSet<StartFinding>,
}

impl StartupWatch {
    /// Begins to watch a process that has just started. Reported findings are not reported again.
    pub(super) fn begin(&mut self, now: Duration, first_look: Duration) {
        let told = std::mem::take(&mut self.told);
        *self = Self { next: Some(now + first_look), pause: first_look / 2, told, ..Self::default() };
    }

    /// Returns whether a look is due, and sets the time of the next one.
    fn take_look(&mut self, now: Duration) -> bool {
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due {
            self.next = Some(now + self.pause);
            self.pause = self.pause.mul_f64(1.4);
        }
        is_due
    }

    fn record(&mut self, now: Duration, seen: StartObservation) {
        let is_idle = self.seen.as_ref().is_some_and(|(_, before)| before.is_idle_until(&seen));
        self.idle = if is_idle { self.idle + 1 } else { 0 };
        if let Some((at, before)) = self.seen.take() {
            let wall = now.saturating_sub(at).as_secs_f64();
            if wall > 0.1 {
                self.load = seen.cpu.saturating_sub(before.cpu).as_secs_f64() / wall;
            }
            let is_gone = |old: &&ObservedProcess| seen.processes.iter().all(|new| new.pid != old.pid);
            let is_new = |new: &&ObservedProcess| before.processes.iter().all(|old| old.pid != new.pid);
            // A script that waits for another server starts its `sleep` again and again.
            let ended = before.processes.iter().filter(is_gone).filter(|old| old.name != "sleep");
            let successor = |old: &ObservedProcess| {
                let mut new = seen.processes.iter().filter(is_new);
                new.any(|new| new.parent == old.parent && new.name == old.name)
            };
            if let Some(old) = ended.into_iter().find(|old| successor(old)) {
                self.replaced += 1;
                self.replaced_name.clone_from(&old.name);
            }
        } else {
            self.load = seen.cpu.as_secs_f64() / FIRST_LOOK.as_secs_f64();
        }
        self.seen = Some((now, seen));
    }

    fn listeners(&self) -> &[SocketAddr] {
        self.seen.as_ref().map_or(&[], |(_, seen)| seen.listeners.as_slice())
    }

    fn respawns(&self) -> bool {
        self.replaced >= RESPAWNS
    }

    /// Describes whether the instance is working.
    fn activity(&self) -> String {
        let used = self.seen.as_ref().map_or(Duration::ZERO, |(_, seen)| seen.cpu).as_secs_f64();
        if self.load >= WORKING {
            return format!("it is working ({used:.1} s of CPU time so far)");
        }
        match &self.seen {
            Some((_, seen)) if seen.is_runnable => {
                format!(
                    "it gets hardly any CPU time ({used:.1} s so far): the processors are busy, or limited"
                )
            }
            Some((_, seen)) if seen.waits_for_disk => {
                format!("it waits for a disk ({used:.1} s of CPU time so far)")
            }
            _ => {
                format!(
                    "it uses no CPU time ({used:.1} s so far): it may wait for something, such as a database"
                )
            }
        }
    }
}

impl SupervisorCore {
    /// Looks at instances on trial, and at the end of those whose time is up.
    pub(super) fn check_trials(&mut self) {
        let Some(change) = &self.change else { return };
        if change.failed.is_some() {
            return;
        }
        let limit = change.plan.ready_within;
        let now = self.now;
        for id in change.fresh.clone() {
            let Some(one) = self.instances.get_mut(&id) else { continue };
            let is_waited_for = one.must_be_ready();
            let is_settling = one.is_settling();
            let InstanceState::Starting { since, diagnosed, .. } = &mut one.state else { continue };
            if *diagnosed || !(is_waited_for || is_settling) {
                continue;
            }
            *diagnosed = is_waited_for && *since + limit <= now;
            if *diagnosed || one.watch.take_look(now) {
                self.out.push(CoreAction::Observe { id });
            }
        }
    }

    /// Reports what an observation shows; fails the change if the time of the instance is up.
    pub(super) fn handle_observation(&mut self, id: InstanceId, seen: StartObservation) {
        let now = self.now;
        let Some(change) = self.change.as_ref().filter(|change| change.fresh.contains(&id)) else { return };
        let Some(one) = self.instances.get_mut(&id) else { return };
        let InstanceState::Starting { diagnosed, .. } = one.state else { return };
        one.watch.record(now, seen);
        if one.is_settling() {
            if one.watch.idle >= IDLE_LOOKS {
                self.mark_ready(id, None);
            }
            return;
        }
        if diagnosed {
            let error = explain_unready(&change.plan, one);
            return self.fail_change(ChangeError { culprit: Some(id), ..error });
        }
        let found = find_facts(&change.plan, one, now);
        for finding in found {
            if one.watch.told.len() < MAX_TOLD && one.watch.told.insert(finding) {
                let text = describe_finding(finding, &change.plan, one, now);
                let line = if finding == StartFinding::Respawns {
                    ProgressLine::WithLog { id, text, rest: String::new() }
                } else {
                    ProgressLine::Detail(text)
                };
                self.out.push(CoreAction::ReportProgress { job: change.job, line });
            }
        }
    }
}
