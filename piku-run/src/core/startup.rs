//! Instances on trial that are not ready yet: a fact is reported as soon as it is known, once, and again in
//! the error if the instance does not become ready in time.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{AppInstance, ChangeError, CoreAction, InstanceId, InstanceState, ProbeOutcome, ProgressLine};
use super::{RunPlan, SupervisorCore};

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
            format!("it is working ({used:.1} s of CPU time so far)")
        } else {
            format!("it uses no CPU time ({used:.1} s so far): it may wait for something, such as a database")
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
            if is_settling && one.watch.take_look(now) {
                self.out.push(CoreAction::Observe { id });
            }
            if *diagnosed || !is_waited_for {
                continue;
            }
            *diagnosed = *since + limit <= now;
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
                self.mark_ready(id);
            }
            return;
        }
        if diagnosed {
            let error = explain_unready(&change.plan, one);
            return self.fail_change(ChangeError { culprit: Some(id), ..error });
        }
        let found = findings(&change.plan, one, now);
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

/// Returns what is known of an instance that is not ready.
fn findings(plan: &RunPlan, one: &AppInstance, now: Duration) -> Vec<StartFinding> {
    let InstanceState::Starting { since, patience, unannounced, last, .. } = &one.state else {
        return Vec::new();
    };
    let age = now.saturating_sub(*since);
    let slow = SLOW.iter().filter(|seconds| age >= Duration::from_secs(**seconds)).count().checked_sub(1);
    let found = match last {
        _ if *unannounced => slow.map(StartFinding::Slow),
        Some(ProbeOutcome::Http(status)) => Some(StartFinding::Status(*status)),
        Some(ProbeOutcome::Closed | ProbeOutcome::NotHttp) => Some(StartFinding::BadAnswer),
        _ if listens_elsewhere(one).is_some() => Some(StartFinding::OtherAddress),
        _ if listens_at_port(one).is_some() && patience.is_some() => slow.map(StartFinding::NoAnswer),
        Some(ProbeOutcome::Silent) => slow.map(StartFinding::NoAnswer),
        Some(ProbeOutcome::Refused) if !undeclared_listeners(plan, one).is_empty() => {
            Some(StartFinding::OtherPort)
        }
        _ => slow.map(StartFinding::Slow),
    };
    found.into_iter().chain(one.watch.respawns().then_some(StartFinding::Respawns)).collect()
}

/// Returns the instance's listener at its own port, on whichever address.
fn listens_at_port(one: &AppInstance) -> Option<SocketAddr> {
    one.watch.listeners().iter().find(|listener| Some(listener.port()) == one.port).copied()
}

/// Returns the instance's listener at its own port if no health check reaches it.
fn listens_elsewhere(one: &AppInstance) -> Option<SocketAddr> {
    let is_reached = |listener: &SocketAddr| {
        let ip = listener.ip().to_canonical();
        ip.is_unspecified() || ip == IpAddr::V4(Ipv4Addr::LOCALHOST)
    };
    let mut own = one.watch.listeners().iter().filter(|listener| Some(listener.port()) == one.port);
    let first = own.clone().next().copied();
    first.filter(|_| !own.any(is_reached))
}

/// Returns the ports on which it listens instead of its own.
fn other_listeners(one: &AppInstance) -> Vec<u16> {
    let ports = one.watch.listeners().iter().map(SocketAddr::port);
    let mut ports: Vec<u16> = ports.filter(|port| Some(*port) != one.port).collect();
    ports.dedup();
    ports
}

/// Returns the ports on which it listens without having declared them.
fn undeclared_listeners(plan: &RunPlan, one: &AppInstance) -> Vec<u16> {
    other_listeners(one).into_iter().filter(|port| !plan.listen_ports.contains(port)).collect()
}

fn join_ports(ports: &[u16]) -> String {
    ports.iter().map(|port| format!(":{port}")).collect::<Vec<_>>().join(", ")
}

/// Formats the time limit with the setting that holds it.
fn limit_of(plan: &RunPlan) -> String {
    format!("{} s (HEALTHCHECK_START_PERIOD)", plan.ready_within.as_secs_f64())
}

fn describe_finding(finding: StartFinding, plan: &RunPlan, one: &AppInstance, now: Duration) -> String {
    let InstanceState::Starting { since, unannounced, .. } = one.state else { return String::new() };
    let (ps, asked, limit) = (&one.ps, &plan.asked, limit_of(plan));
    let port = one.port.map_or_else(|| "PORT".to_owned(), |port| format!("PORT {port}"));
    let age = now.saturating_sub(since).as_secs();
    match finding {
        StartFinding::Status(status) => format!(
            "{ps} answers {status} to {asked} on {port}: it is asked until it answers {}, for {limit}",
            plan.expected
        ),
        StartFinding::BadAnswer => {
            format!("{ps} gives no HTTP answer to {asked} on {port}: it is asked again, for {limit}")
        }
        StartFinding::OtherPort => {
            let others = undeclared_listeners(plan, one);
            let first = others.first().copied().unwrap_or_default();
            format!(
                "{ps} listens on {}, nothing listens on {port} so far: it must listen on the port in $PORT, \
                 or get that one by PORT={first} in ENV",
                join_ports(&others)
            )
        }
        StartFinding::OtherAddress => {
            let listener = listens_elsewhere(one).map(|listener| listener.to_string()).unwrap_or_default();
            format!(
                "{ps} listens on {listener}, not on 127.0.0.1: it must listen there ($BIND_ADDRESS) or on all \
                 addresses"
            )
        }
        StartFinding::Respawns => {
            format!("processes of {ps} end and are started again ({})", one.watch.replaced_name)
        }
        StartFinding::NoAnswer(_) => {
            format!("{ps} has accepted {asked} on {port} and has not answered after {age} s; it has {limit}")
        }
        StartFinding::Slow(_) => {
            let what = if unannounced {
                "it has not said READY=1 to $NOTIFY_SOCKET".to_owned()
            } else {
                format!("nothing listens on {port}")
            };
            format!("{ps} starts slowly: {what} after {age} s, {}; it has {limit}", one.watch.activity())
        }
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

/// Explains why an instance did not become ready in time, with hints.
fn explain_unready(plan: &RunPlan, one: &AppInstance) -> ChangeError {
    let mut error = ChangeError::new(why_not_ready(plan, one));
    if one.watch.respawns() {
        error.reason = format!(
            "{}; its processes end and are started again ({})",
            error.reason, one.watch.replaced_name
        );
    }
    let InstanceState::Starting { last, unannounced, .. } = &one.state else { return error };
    let is_listening = listens_at_port(one).is_some();
    let others = other_listeners(one);
    match (last, others.first()) {
        (Some(ProbeOutcome::Http(400..=499)), _) => {
            error.hints.push("HEALTHCHECK_PATH and HEALTHCHECK_HOST in ENV set what is asked for".to_owned());
        }
        (Some(ProbeOutcome::Refused), Some(port)) if !is_listening && !unannounced => {
            error.hints.push(format!(
                "let it listen on the port in $PORT, or have it given that port: PORT={port} in ENV, or \
                 piku config:set {} PORT={port}",
                plan.app
            ));
        }
        _ => {}
    }
    if one.watch.load >= WORKING && others.is_empty() {
        let longer = plan.ready_within.as_secs_f64() * 2.0;
        error.hints.push(format!(
            "it was still working: HEALTHCHECK_START_PERIOD={longer} in ENV gives a slow start {longer} s"
        ));
    }
    error
}

/// Describes the health check and what happened instead of a good response.
fn why_not_ready(plan: &RunPlan, one: &AppInstance) -> String {
    let InstanceState::Starting { last, patience, unannounced, .. } = &one.state else {
        return String::new();
    };
    let (ps, asked) = (&one.ps, &plan.asked);
    let within = format!("within {}", limit_of(plan));
    let Some(port) = one.port.filter(|_| !unannounced) else {
        let why = if *unannounced { ": it did not say READY=1 to $NOTIFY_SOCKET" } else { "" };
        return format!("{ps} was not ready {within}{why}");
    };
    let elsewhere = listens_elsewhere(one);
    // Earlier checks were refused before it listened; the one in progress was accepted.
    let silent = patience.is_some() && elsewhere.is_none() && listens_at_port(one).is_some();
    match last.as_ref().filter(|last| !(silent && **last == ProbeOutcome::Refused)) {
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
        Some(ProbeOutcome::Silent) | None => format!(
            "{ps} was not healthy {within}: it accepted {asked} on port {port} and did not answer{}",
            in_time(one.pace.timeout, plan.ready_within)
        ),
        Some(ProbeOutcome::Refused) => match elsewhere {
            Some(listener) => format!(
                "{ps} listens on {listener}, but not on 127.0.0.1: it must listen there ($BIND_ADDRESS) or on all \
                 addresses"
            ),
            None => why_refused(plan, one, port),
        },
    }
}

/// Describes an instance that does not listen on its port.
fn why_refused(plan: &RunPlan, one: &AppInstance, port: u16) -> String {
    let (ps, limit, others) = (&one.ps, limit_of(plan), other_listeners(one));
    if others.is_empty() {
        return format!(
            "nothing listens on PORT {port} after {limit}: {ps} must listen on the port in $PORT; {}",
            one.watch.activity()
        );
    }
    format!(
        "nothing listens on PORT {port}; the process listens on {} ({ps}, after {limit})",
        join_ports(&others)
    )
}
