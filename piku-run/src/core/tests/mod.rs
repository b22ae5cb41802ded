//! A core in a world of values: what it asks for, in words.

mod crash;
mod cron;
mod deploy;
mod port;
mod ready;
mod requests;
mod scale;
mod startup;
mod stop;
mod takeover;
mod trial;

use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Plain workers decide, as in an app without web, unless their names say otherwise.
fn trial_of(name: &str) -> TrialRule {
    match name {
        "web" => TrialRule::MustBeReady,
        _ if name.starts_with("notify") => TrialRule::MustBeReady,
        _ if name.starts_with("beside") => TrialRule::Reported,
        _ => TrialRule::MustNotFail,
    }
}

fn plan(release: u64, types: &[(&str, u32)]) -> RunPlan {
    let types = types
        .iter()
        .map(|(name, count)| ProcessType {
            name: name.parse().unwrap(),
            count: *count,
            must_listen: *name == "web",
            pinned: None,
            overlap: name.starts_with("overlap"),
            notifies: name.starts_with("notify"),
            trial: trial_of(name),
        })
        .collect();
    RunPlan {
        release,
        types,
        ready_within: secs(60),
        crons: vec![("cron".parse().unwrap(), String::new())],
        pace: ProbePace::default(),
        grace: secs(10),
        asked: "GET /".to_owned(),
        expected: "a status below 500",
        listen_ports: vec![9100],
        app: "blog".to_owned(),
    }
}

/// A core whose spawns succeed, with a clock, and a log of what it asked for.
struct World {
    core: SupervisorCore,
    now: Duration,
    next_port: u16,
    log: Vec<String>,
    fail_spawns: bool,
    probes: u32,
    /// Routes, in the order of their changes.
    routes: Vec<Option<AppRoute>>,
    /// Old instances have requests that never end.
    requests_under_way: bool,
    /// Result of a switch of requests.
    switch: Result<(), String>,
}

impl World {
    fn new() -> Self {
        Self {
            core: SupervisorCore::new(OnExit::Restart, InstanceId(0)),
            now: secs(1000),
            next_port: 20000,
            log: vec![],
            fail_spawns: false,
            probes: 0,
            routes: vec![],
            requests_under_way: false,
            switch: Ok(()),
        }
    }

    fn boot(plan: RunPlan) -> Self {
        let mut world = Self::new();
        world.send(CoreEvent::Boot { plan: Some(plan), found: vec![] });
        world.all_ready();
        world.log.clear();
        world
    }

    fn send(&mut self, event: CoreEvent) {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.core.handle_event(self.now, event) {
                match action {
                    CoreAction::Spawn { id } => {
                        let ps = self.name(id);
                        let listens = self.core.instance(id).unwrap().must_listen;
                        self.log.push(format!("spawn {ps}"));
                        if self.fail_spawns {
                            events.push_back(CoreEvent::SpawnFailed { id, reason: "no such file".into() });
                            continue;
                        }
                        let kept = self.core.instance(id).unwrap().port;
                        let port = listens.then(|| {
                            kept.unwrap_or_else(|| {
                                self.next_port += 1;
                                self.next_port - 1
                            })
                        });
                        events.push_back(CoreEvent::Spawned { id, port });
                    }
                    CoreAction::RunTask { release, .. } => self.log.push(format!("task {release}")),
                    CoreAction::KillTask => self.log.push("kill task".into()),
                    CoreAction::Record { .. } | CoreAction::LogRemark { .. } | CoreAction::Forget { .. } => {}
                    CoreAction::Probe { id } => {
                        assert!(self.core.instance(id).unwrap().port.is_some());
                        self.probes += 1;
                    }
                    // Only the last look, since the others change nothing.
                    CoreAction::Observe { id } => {
                        let one = self.core.instance(id).unwrap();
                        if matches!(one.state, InstanceState::Starting { diagnosed: true, .. }) {
                            let ps = self.name(id);
                            self.log.push(format!("diagnose {ps}"));
                        }
                    }
                    CoreAction::Terminate { id } => {
                        let ps = self.name(id);
                        self.log.push(format!("term {ps}"));
                    }
                    CoreAction::Kill { id } => {
                        let ps = self.name(id);
                        self.log.push(format!("kill {ps}"));
                    }
                    CoreAction::Switch { route, .. } => {
                        self.routes.push(Some(route));
                        self.log.push("switch".into());
                        events.push_back(CoreEvent::Switched(self.switch.clone()));
                    }
                    CoreAction::Route(route) => self.routes.push(route),
                    CoreAction::ReportCrashLoop { ps, has_begun, .. } => {
                        self.log.push(format!(
                            "crash loop of {ps} {}",
                            if has_begun { "begins" } else { "ends" }
                        ));
                    }
                    CoreAction::Drain { id } if self.requests_under_way => {
                        let ps = self.name(id);
                        self.log.push(format!("drain {ps}"));
                    }
                    CoreAction::Drain { id } => events.push_back(CoreEvent::Drained { id }),
                    CoreAction::ReportProgress {
                        line: ProgressLine::Step(text) | ProgressLine::Detail(text),
                        ..
                    } => {
                        self.log.push(format!("say {text}"));
                    }
                    CoreAction::ReportProgress { line: ProgressLine::WithLog { text, rest, .. }, .. } => {
                        self.log.push(format!("say {text}; {rest}"));
                    }
                    CoreAction::FinishJob { result: Ok(()), .. } => self.log.push("done".into()),
                    CoreAction::FinishJob { result: Err(refusal), .. } => {
                        self.log.push(format!("failed {}", refusal.reason));
                    }
                }
            }
        }
    }

    fn name(&self, id: InstanceId) -> String {
        let one = self.core.instance(id).unwrap();
        format!("{}@{}", one.ps, one.release)
    }

    /// Actions since the last call, without progress messages.
    fn did(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log).into_iter().filter(|line| !line.starts_with("say ")).collect()
    }

    fn id(&self, name: &str) -> InstanceId {
        self.core.instances().map(|(id, _)| id).rfind(|id| self.name(*id) == name).expect(name)
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + secs(seconds);
        while let Some(deadline) = self.core.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.send(CoreEvent::Tick);
        }
        self.now = end;
        self.send(CoreEvent::Tick);
    }

    fn ready(&mut self, name: &str) {
        let id = self.id(name);
        self.send(CoreEvent::Probed { id, outcome: ProbeOutcome::Alive });
    }

    fn all_ready(&mut self) {
        let starting: Vec<InstanceId> = self
            .core
            .instances()
            .filter(|(_, one)| one.must_listen && matches!(one.state, InstanceState::Starting { .. }))
            .map(|(id, _)| id)
            .collect();
        for id in starting {
            self.send(CoreEvent::Probed { id, outcome: ProbeOutcome::Alive });
        }
        self.pass(1);
    }

    fn exit(&mut self, name: &str, code: i32) {
        let id = self.id(name);
        self.send(CoreEvent::Exited { id, exit: ProcessExit::Code(code) });
    }

    fn deploy(&mut self, plan: RunPlan) {
        self.send(CoreEvent::Change { job: JobId(1), plan, replace: ReplaceScope::All, task: false });
    }

    fn change(&mut self, plan: RunPlan, replace: ReplaceScope) {
        self.send(CoreEvent::Change { job: JobId(1), plan, replace, task: false });
    }

    fn states(&self) -> Vec<String> {
        self.core.instances().map(|(id, one)| format!("{} {}", self.name(id), word(one))).collect()
    }
}

/// Returns an observation of a process that listens on these ports of loopback.
fn listening(ports: &[u16]) -> StartObservation {
    let listeners = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
    StartObservation { listeners, ..StartObservation::default() }
}

fn word(one: &AppInstance) -> &'static str {
    match one.state {
        InstanceState::Starting { .. } => "starting",
        InstanceState::CronRun { .. } => "once",
        InstanceState::Ready { .. } => one.ready_label(),
        InstanceState::Backoff { .. } if one.is_crash_looping() => "crash-looping",
        InstanceState::Backoff { .. } => "backoff",
        InstanceState::Moving { .. } => "moving",
        InstanceState::Draining { .. } | InstanceState::Stopping { .. } | InstanceState::Killing => {
            "draining"
        }
    }
}

fn found(id: u64, ps: &str, release: u64, live: bool) -> FoundWorker {
    let (kind, index) = ps.split_once('.').unwrap();
    FoundWorker {
        id: InstanceId(id),
        ps: InstanceName { kind: kind.parse().unwrap(), index: index.parse().unwrap() },
        release,
        port: Some(20000),
        live,
        ready: true,
        restarts: 4,
        uptime: secs(100),
        once: false,
    }
}
