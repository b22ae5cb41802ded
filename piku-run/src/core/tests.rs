//! The state machine through its values: no process, no clock.

use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn plan(release: u64, types: &[(&str, u32)]) -> Plan {
    let types = types
        .iter()
        .map(|(name, count)| Type {
            name: name.parse().unwrap(),
            count: *count,
            listens: *name == "web",
            overlap: name.starts_with("overlap"),
            notifies: name.starts_with("notify"),
        })
        .collect();
    Plan {
        release,
        types,
        ready_within: secs(60),
        crons: vec![("cron".parse().unwrap(), String::new())],
        pace: Pace::default(),
        grace: secs(10),
    }
}

/// A core whose spawns succeed, with a clock, and a log of what it asked for.
struct World {
    core: Core,
    now: Duration,
    next_port: u16,
    log: Vec<String>,
    fail_spawns: bool,
    probes: u32,
    /// Where requests were sent, in turn.
    routes: Vec<Option<Route>>,
    /// Whether old instances have requests that do not end by themselves here.
    requests_under_way: bool,
    /// How a switch ends.
    switch: Result<(), String>,
}

impl World {
    fn new() -> Self {
        Self {
            core: Core::new(OnExit::Restart, Id(0)),
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

    fn boot(plan: Plan) -> Self {
        let mut world = Self::new();
        world.send(Event::Boot { plan: Some(plan), found: vec![] });
        world.all_ready();
        world.log.clear();
        world
    }

    fn send(&mut self, event: Event) {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.core.handle(self.now, event) {
                match action {
                    Action::Spawn { id } => {
                        let ps = self.name(id);
                        let listens = self.core.instance(id).unwrap().listens;
                        self.log.push(format!("spawn {ps}"));
                        if self.fail_spawns {
                            events.push_back(Event::SpawnFailed { id, reason: "no such file".into() });
                            continue;
                        }
                        let kept = self.core.instance(id).unwrap().port;
                        let port = listens.then(|| {
                            kept.unwrap_or_else(|| {
                                self.next_port += 1;
                                self.next_port - 1
                            })
                        });
                        events.push_back(Event::Spawned { id, port });
                    }
                    Action::Task { release, .. } => self.log.push(format!("task {release}")),
                    Action::KillTask => self.log.push("kill task".into()),
                    Action::Record { .. } | Action::Remark { .. } | Action::Forget { .. } => {}
                    Action::Probe { id } => {
                        assert!(self.core.instance(id).unwrap().port.is_some());
                        self.probes += 1;
                    }
                    Action::Diagnose { id } => {
                        let ps = self.name(id);
                        self.log.push(format!("diagnose {ps}"));
                    }
                    Action::Terminate { id } => {
                        let ps = self.name(id);
                        self.log.push(format!("term {ps}"));
                    }
                    Action::Kill { id } => {
                        let ps = self.name(id);
                        self.log.push(format!("kill {ps}"));
                    }
                    Action::Switch { route, .. } => {
                        self.routes.push(Some(route));
                        self.log.push("switch".into());
                        events.push_back(Event::Switched(self.switch.clone()));
                    }
                    Action::Route(route) => self.routes.push(route),
                    Action::Drain { id } if self.requests_under_way => {
                        let ps = self.name(id);
                        self.log.push(format!("drain {ps}"));
                    }
                    Action::Drain { id } => events.push_back(Event::Drained { id }),
                    Action::Say { line: Line::Step(text) | Line::Detail(text), .. } => {
                        self.log.push(format!("say {text}"));
                    }
                    Action::Done { result: Ok(()), .. } => self.log.push("done".into()),
                    Action::Done { result: Err(refusal), .. } => {
                        self.log.push(format!("failed {}", refusal.reason));
                    }
                }
            }
        }
    }

    fn name(&self, id: Id) -> String {
        let one = self.core.instance(id).unwrap();
        format!("{}@{}", one.ps, one.release)
    }

    /// What happened since the last look, without the talk.
    fn did(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log).into_iter().filter(|line| !line.starts_with("say ")).collect()
    }

    fn id(&self, name: &str) -> Id {
        self.core.instances().map(|(id, _)| id).rfind(|id| self.name(*id) == name).expect(name)
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + secs(seconds);
        while let Some(deadline) = self.core.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.send(Event::Tick);
        }
        self.now = end;
        self.send(Event::Tick);
    }

    fn ready(&mut self, name: &str) {
        let id = self.id(name);
        self.send(Event::Probed { id, outcome: Outcome::Alive });
    }

    fn all_ready(&mut self) {
        let starting: Vec<Id> = self
            .core
            .instances()
            .filter(|(_, one)| one.listens && matches!(one.state, State::Starting { .. }))
            .map(|(id, _)| id)
            .collect();
        for id in starting {
            self.send(Event::Probed { id, outcome: Outcome::Alive });
        }
        self.pass(1);
    }

    fn exit(&mut self, name: &str, code: i32) {
        let id = self.id(name);
        self.send(Event::Exited { id, exit: Exit::Code(code) });
    }

    fn deploy(&mut self, plan: Plan) {
        self.send(Event::Change { job: Job(1), plan, replace: Replace::All, task: false });
    }

    fn change(&mut self, plan: Plan, replace: Replace) {
        self.send(Event::Change { job: Job(1), plan, replace, task: false });
    }

    fn states(&self) -> Vec<String> {
        self.core.instances().map(|(id, one)| format!("{} {}", self.name(id), word(one))).collect()
    }
}

fn word(one: &Instance) -> &'static str {
    match one.state {
        State::Starting { .. } => "starting",
        State::Once { .. } => "once",
        State::Up { .. } => one.ready_word(),
        State::Waiting { .. } if one.is_crash_looping() => "crash-looping",
        State::Waiting { .. } => "backoff",
        State::Draining { .. } | State::Stopping { .. } | State::Killing => "draining",
    }
}

#[test]
fn boot_starts_every_place_and_waits_for_its_answer() {
    let mut world = World::new();
    world.send(Event::Boot { plan: Some(plan(1, &[("web", 2), ("worker", 1)])), found: vec![] });
    assert_eq!(world.did(), ["spawn web.1@1", "spawn web.2@1", "spawn worker.1@1"]);
    assert_eq!(world.states(), ["web.1@1 starting", "web.2@1 starting", "worker.1@1 starting"]);
    world.ready("web.1@1");
    world.pass(1);
    assert_eq!(world.states(), ["web.1@1 healthy", "web.2@1 starting", "worker.1@1 running"]);
    assert_ne!(world.core.instance(Id(1)).unwrap().port, world.core.instance(Id(2)).unwrap().port);
}

#[test]
fn what_does_not_speak_http_must_stay_up_for_a_second() {
    let mut world = World::new();
    world.send(Event::Boot { plan: Some(plan(1, &[("web", 1)])), found: vec![] });
    assert_eq!(world.probes, 1, "asked once it has a port");
    world.send(Event::Probed { id: Id(1), outcome: Outcome::NotHttp });
    assert_eq!(world.states(), ["web.1@1 starting"]);
    world.pass(1);
    assert_eq!(world.states(), ["web.1@1 healthy"]);
}

#[test]
fn an_instance_at_boot_that_is_slow_is_not_killed() {
    let mut world = World::new();
    world.send(Event::Boot { plan: Some(plan(1, &[("web", 1)])), found: vec![] });
    for _ in 0..300 {
        world.pass(1);
        world.send(Event::Probed { id: Id(1), outcome: Outcome::Refused });
    }
    assert_eq!(world.states(), ["web.1@1 starting"]);
    world.ready("web.1@1");
    assert_eq!(world.states(), ["web.1@1 healthy"]);
}

#[test]
fn a_first_crash_is_restarted_at_once_on_the_same_port() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    let port = world.core.instance(Id(1)).unwrap().port;
    world.exit("web.1@1", 1);
    assert_eq!(world.did(), ["spawn web.1@1"]);
    let one = world.core.instance(Id(1)).unwrap();
    assert_eq!((one.port, one.restarts, one.last_exit), (port, 1, Some(Exit::Code(1))));
}

#[test]
fn crashes_in_a_row_back_off_become_a_loop_and_are_forgotten_after_a_stable_minute() {
    let mut world = World::boot(plan(1, &[("worker", 1)]));
    world.exit("worker.1@1", 1);
    assert_eq!(world.states(), ["worker.1@1 starting"]);
    let mut waited = Duration::ZERO;
    for crash in 2..=8 {
        world.exit("worker.1@1", 1);
        assert_eq!(
            world.states(),
            [format!("worker.1@1 {}", if crash < 5 { "backoff" } else { "crash-looping" })]
        );
        let wait = world.core.deadline().unwrap().saturating_sub(world.now);
        assert!(wait > waited, "{wait:?} after {waited:?}");
        waited = wait;
        world.now += wait;
        world.send(Event::Tick);
        assert_eq!(world.states(), ["worker.1@1 starting"]);
    }
    world.pass(61);
    assert_eq!(world.states(), ["worker.1@1 running"]);
    world.exit("worker.1@1", 1);
    assert_eq!(world.states(), ["worker.1@1 starting"], "at once again");
}

#[test]
fn a_worker_that_ends_with_success_is_started_again_too() {
    let mut world = World::boot(plan(1, &[("worker", 1)]));
    world.exit("worker.1@1", 0);
    assert_eq!(world.did(), ["spawn worker.1@1"]);
}

#[test]
fn a_program_that_cannot_be_started_backs_off_and_does_not_spin() {
    let mut world = World::new();
    world.fail_spawns = true;
    world.send(Event::Boot { plan: Some(plan(1, &[("web", 1)])), found: vec![] });
    world.pass(3);
    let spawns = world.did().len();
    assert!((2..=4).contains(&spawns), "{spawns}");
}

#[test]
fn a_deploy_starts_the_new_beside_the_old_switches_and_stops_the_old() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    assert_eq!(world.did(), ["spawn web.1@2"]);
    assert_eq!(world.states(), ["web.1@1 healthy", "web.1@2 starting"]);
    world.ready("web.1@2");
    assert_eq!(world.did(), ["switch", "done", "term web.1@1"]);
    assert_eq!(world.states(), ["web.1@1 draining", "web.1@2 healthy"]);
    world.exit("web.1@1", 0);
    assert_eq!(world.states(), ["web.1@2 healthy"]);
    assert_eq!(world.core.plan().unwrap().release, 2);
    assert!(world.did().is_empty(), "an old one that was stopped is not started again");
}

#[test]
fn a_first_deploy_needs_no_old() {
    let mut world = World::new();
    world.send(Event::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("web", 1), ("worker", 2)]));
    assert_eq!(world.did(), ["spawn web.1@1", "spawn worker.1@1", "spawn worker.2@1"]);
    world.all_ready();
    assert_eq!(world.did(), ["switch", "done"]);
}

#[test]
fn a_deploy_of_nothing_to_run_succeeds() {
    let mut world = World::new();
    world.send(Event::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("web", 0)]));
    assert_eq!(world.did(), ["switch", "done"]);
}

#[test]
fn a_new_instance_that_exits_fails_the_deploy_and_the_old_is_untouched() {
    let mut world = World::boot(plan(1, &[("web", 2)]));
    world.deploy(plan(2, &[("web", 2)]));
    world.ready("web.2@2");
    world.log.clear();
    world.exit("web.1@2", 1);
    assert_eq!(world.did(), ["term web.2@2"], "not over while one of the new is left");
    world.exit("web.2@2", 0);
    assert_eq!(world.did(), ["failed web.1 exited with code 1 before it was ready"]);
    assert_eq!(world.states(), ["web.1@1 healthy", "web.2@1 healthy"]);
    assert_eq!(world.core.plan().unwrap().release, 1);
}

#[test]
fn a_failed_first_deploy_leaves_nothing() {
    let mut world = World::new();
    world.send(Event::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("web", 1)]));
    world.exit("web.1@1", 3);
    assert_eq!(world.did(), ["spawn web.1@1", "failed web.1 exited with code 3 before it was ready"]);
    assert!(world.core.is_idle());
}

#[test]
fn a_new_instance_that_keeps_a_question_waiting_is_not_told_to_listen_elsewhere() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    let id = world.id("web.1@2");
    world.pass(57);
    world.send(Event::Probed { id, outcome: Outcome::Refused });
    // It is asked again, and accepts, before its time is up.
    world.pass(3);
    world.log.clear();
    world.send(Event::Listens { id, ports: vec![20001] });
    world.exit("web.1@2", 143);
    let why = "it accepts connections on port 20001 and does not answer";
    assert_eq!(world.did(), ["term web.1@2", &format!("failed web.1 was not healthy within 60 s: {why}")]);
}

#[test]
fn a_new_instance_on_a_wrong_port_is_told_where_it_listens() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    let id = world.id("web.1@2");
    world.pass(59);
    world.send(Event::Probed { id, outcome: Outcome::Refused });
    world.log.clear();
    world.now += secs(1);
    world.send(Event::Tick);
    assert_eq!(world.did(), ["diagnose web.1@2"]);
    world.send(Event::Listens { id, ports: vec![3000] });
    assert_eq!(world.did(), ["term web.1@2"]);
    world.exit("web.1@2", 143);
    assert_eq!(
        world.did(),
        ["failed nothing listens on PORT 20001; the process listens on :3000 (web.1, after 60 s)"]
    );
}

#[test]
fn an_unhealthy_answer_is_named() {
    let mut world = World::new();
    world.send(Event::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("web", 1)]));
    world.send(Event::Probed { id: Id(1), outcome: Outcome::Http(500) });
    world.pass(60);
    world.send(Event::Listens { id: Id(1), ports: vec![20000] });
    world.exit("web.1@1", 0);
    assert_eq!(
        world.did().last().unwrap(),
        "failed web.1 was not healthy within 60 s: it answered 500 on port 20000"
    );
}

#[test]
fn a_new_instance_that_ignores_sigterm_is_killed() {
    let mut world = World::boot(plan(1, &[("web", 2)]));
    world.deploy(plan(2, &[("web", 2)]));
    world.exit("web.1@2", 1);
    world.log.clear();
    world.pass(10);
    assert_eq!(world.did(), ["kill web.2@2"]);
    world.exit("web.2@2", 137);
    assert_eq!(world.did(), ["failed web.1 exited with code 1 before it was ready"]);
}

#[test]
fn the_release_task_runs_first_and_its_failure_is_the_deploys() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    let deploy = |world: &mut World, release| {
        let plan = plan(release, &[("web", 1)]);
        world.send(Event::Change { job: Job(1), plan, replace: Replace::All, task: true });
    };
    deploy(&mut world, 2);
    assert_eq!(world.did(), ["task 2"]);
    world.send(Event::TaskEnded(Ok(Exit::Code(2))));
    assert_eq!(world.did(), ["failed the release task exited with code 2"]);
    deploy(&mut world, 3);
    world.send(Event::TaskEnded(Ok(Exit::Code(0))));
    assert_eq!(world.did(), ["task 3", "spawn web.1@3"]);
}

#[test]
fn a_plain_worker_ends_before_its_successor_starts_and_after_the_web_is_healthy() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 2)]));
    world.deploy(plan(2, &[("web", 1), ("worker", 2)]));
    assert_eq!(world.did(), ["spawn web.1@2"]);
    world.ready("web.1@2");
    assert_eq!(world.did(), ["term worker.1@1", "term worker.2@1"]);
    world.exit("worker.1@1", 0);
    assert!(world.did().is_empty(), "the other old one still works");
    world.exit("worker.2@1", 0);
    assert_eq!(world.did(), ["spawn worker.1@2", "spawn worker.2@2"]);
    world.pass(1);
    assert_eq!(world.did(), ["switch", "done", "term web.1@1"]);
}

#[test]
fn a_plain_worker_that_may_overlap_does() {
    let mut world = World::boot(plan(1, &[("overlap", 1)]));
    world.deploy(plan(2, &[("overlap", 1)]));
    assert_eq!(world.did(), ["spawn overlap.1@2"]);
    world.pass(1);
    assert_eq!(world.did(), ["switch", "term overlap.1@1", "done"]);
}

#[test]
fn when_a_new_worker_fails_the_old_one_comes_back() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 1)]));
    world.deploy(plan(2, &[("web", 1), ("worker", 1)]));
    world.ready("web.1@2");
    world.exit("worker.1@1", 0);
    world.log.clear();
    world.exit("worker.1@2", 1);
    world.exit("web.1@2", 0);
    assert_eq!(
        world.did(),
        ["term web.1@2", "spawn worker.1@1", "failed worker.1 exited with code 1 before it was ready"]
    );
    world.pass(1);
    assert_eq!(world.states(), ["web.1@1 healthy", "worker.1@1 running"]);
}

#[test]
fn types_removed_from_the_procfile_stop() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    world.ready("web.1@2");
    assert_eq!(world.did(), ["spawn web.1@2", "switch", "term worker.1@1", "done", "term web.1@1"]);
}

#[test]
fn an_old_instance_that_crashes_during_a_deploy_is_restarted() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    world.exit("web.1@1", 1);
    assert_eq!(world.did(), ["spawn web.1@2", "spawn web.1@1"]);
}

#[test]
fn a_second_change_is_told_to_come_back_later() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    world.log.clear();
    world.send(Event::Change {
        job: Job(2),
        plan: plan(1, &[("web", 1)]),
        replace: Replace::All,
        task: false,
    });
    assert_eq!(world.did(), ["failed another change of this app is under way"]);
}

#[test]
fn a_switch_that_fails_undoes_the_deploy() {
    let mut core = Core::new(OnExit::Restart, Id(0));
    let now = secs(1);
    core.handle(now, Event::Boot { plan: None, found: vec![] });
    let deploy =
        Event::Change { job: Job(1), plan: plan(1, &[("web", 1)]), replace: Replace::All, task: false };
    core.handle(now, deploy);
    core.handle(now, Event::Spawned { id: Id(1), port: Some(1) });
    let route = Route { release: 1, ports: vec![1] };
    assert!(
        core.handle(now, Event::Probed { id: Id(1), outcome: Outcome::Alive })
            .contains(&Action::Switch { job: Job(1), route })
    );
    // It may have requests by now.
    let actions = core.handle(now, Event::Switched(Err("disk full".into())));
    assert_eq!(actions, [Action::Route(None), Action::Drain { id: Id(1) }]);
    let actions = core.handle(now, Event::Drained { id: Id(1) });
    assert_eq!(actions, [Action::Terminate { id: Id(1) }]);
    let actions = core.handle(now, Event::Exited { id: Id(1), exit: Exit::Code(0) });
    assert!(matches!(actions.last(), Some(Action::Done { result: Err(_), .. })));
}

#[test]
fn stop_terms_waits_kills_and_is_done_when_all_are_gone() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 1)]));
    world.send(Event::Stop { job: Job(1) });
    assert_eq!(world.did(), ["term web.1@1", "term worker.1@1"]);
    world.exit("web.1@1", 0);
    world.pass(9);
    assert!(world.did().is_empty());
    world.pass(1);
    assert_eq!(world.did(), ["kill worker.1@1"]);
    world.exit("worker.1@1", 137);
    assert_eq!(world.did(), ["done"]);
    assert!(world.core.is_idle());
}

#[test]
fn stop_ends_a_deploy_too() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    world.log.clear();
    world.send(Event::Stop { job: Job(2) });
    world.exit("web.1@1", 0);
    world.exit("web.1@2", 0);
    assert_eq!(world.did(), ["term web.1@2", "term web.1@1", "failed the app was stopped meanwhile", "done"]);
    assert!(world.core.is_idle());
}

#[test]
fn stop_of_what_waits_for_its_restart_is_immediate_and_of_nothing_too() {
    let mut world = World::boot(plan(1, &[("worker", 1)]));
    world.exit("worker.1@1", 1);
    world.exit("worker.1@1", 1);
    world.log.clear();
    world.send(Event::Stop { job: Job(1) });
    world.send(Event::Stop { job: Job(2) });
    assert_eq!(world.did(), ["done", "done"]);
}

#[test]
fn restart_works_after_stop() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.send(Event::Stop { job: Job(1) });
    world.exit("web.1@1", 0);
    world.log.clear();
    world.change(plan(1, &[("web", 1)]), Replace::All);
    world.all_ready();
    assert_eq!(world.did(), ["spawn web.1@1", "switch", "done"]);
    assert_eq!(world.states(), ["web.1@1 healthy"]);
}

#[test]
fn restart_of_one_type_leaves_the_others() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 1)]));
    world.change(plan(1, &[("web", 1), ("worker", 1)]), Replace::Type("worker".parse().unwrap()));
    assert_eq!(world.did(), ["term worker.1@1"]);
    world.exit("worker.1@1", 0);
    world.pass(1);
    assert_eq!(world.did(), ["spawn worker.1@1", "switch", "done"]);
}

#[test]
fn scaling_starts_what_is_missing_and_stops_what_is_too_much() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 2)]));
    world.change(plan(1, &[("web", 3), ("worker", 1)]), Replace::Missing);
    assert_eq!(world.did(), ["spawn web.2@1", "spawn web.3@1"]);
    world.all_ready();
    assert_eq!(world.did(), ["switch", "term worker.2@1", "done"]);
    world.exit("worker.2@1", 0);
    world.change(plan(1, &[("web", 3), ("worker", 3)]), Replace::Missing);
    assert_eq!(world.did(), ["spawn worker.2@1", "spawn worker.3@1"], "beside their like");
}

#[test]
fn a_scaling_that_fails_keeps_what_was() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.change(plan(1, &[("web", 2)]), Replace::Missing);
    world.exit("web.2@1", 1);
    assert_eq!(world.states(), ["web.1@1 healthy"]);
    assert_eq!(world.core.plan().unwrap().types[0].count, 1);
}

fn found(id: u64, ps: &str, release: u64, live: bool) -> Found {
    let (kind, index) = ps.split_once('.').unwrap();
    Found {
        id: Id(id),
        ps: Ps { kind: kind.parse().unwrap(), index: index.parse().unwrap() },
        release,
        port: Some(20000),
        live,
        ready: true,
        restarts: 4,
        uptime: secs(100),
        once: false,
    }
}

#[test]
fn living_workers_are_taken_over_and_only_what_is_missing_is_started() {
    let mut world = World::new();
    let found = vec![found(7, "web.1", 1, true), found(9, "gone.1", 1, true)];
    world.send(Event::Boot { plan: Some(plan(1, &[("web", 2)])), found });
    assert_eq!(world.did(), ["spawn web.2@1", "term gone.1@1"]);
    let one = world.core.instance(Id(7)).unwrap();
    assert_eq!((one.restarts, one.is_up(), one.since()), (4, true, Some(secs(900))));
    assert!(world.core.instance(Id(10)).is_some(), "ids go on behind those found");
}

#[test]
fn a_half_made_deploy_is_ended_and_a_finished_one_is_taken() {
    // Killed before the switch: release 1 is live.
    let mut world = World::new();
    let both = vec![found(1, "web.1", 1, true), found(2, "web.1", 2, false)];
    world.send(Event::Boot { plan: Some(plan(1, &[("web", 1)])), found: both.clone() });
    assert_eq!(world.did(), ["term web.1@2"]);
    // Killed after it, before the records were written: release 2 is.
    let mut world = World::new();
    world.send(Event::Boot { plan: Some(plan(2, &[("web", 1)])), found: both });
    assert_eq!(world.did(), ["term web.1@1"]);
    assert!(world.core.instance(Id(2)).unwrap().live);
    // A restart of the same release, half done: the old one.
    let mut world = World::new();
    let found = vec![found(2, "web.1", 1, false), found(1, "web.1", 1, true)];
    world.send(Event::Boot { plan: Some(plan(1, &[("web", 1)])), found });
    assert_eq!(world.did().len(), 1);
    assert!(world.core.instance(Id(1)).unwrap().live);
}

#[test]
fn workers_of_a_stopped_app_are_ended_at_boot() {
    let mut world = World::new();
    world.send(Event::Boot { plan: None, found: vec![found(1, "web.1", 1, true)] });
    assert_eq!(world.did(), ["term web.1@1"]);
}

#[test]
fn a_foreman_stops_all_when_one_ends() {
    let mut world = World::new();
    world.core = Core::new(OnExit::StopAll, Id(0));
    world.send(Event::Boot { plan: Some(plan(1, &[("a", 1), ("b", 1)])), found: vec![] });
    world.log.clear();
    world.exit("a.1@1", 3);
    assert_eq!(world.did(), ["term b.1@1"]);
    world.exit("b.1@1", 0);
    assert!(world.core.is_idle());
}

#[test]
fn an_idle_app_has_no_timer() {
    let world = World::boot(plan(1, &[("web", 2), ("worker", 3)]));
    assert_eq!(world.core.deadline(), None);
}

fn route(release: u64, ports: &[u16]) -> Route {
    Route { release, ports: ports.to_vec() }
}

#[test]
fn requests_are_sent_to_the_new_before_the_old_ends_and_the_old_finishes_those_it_has() {
    let mut world = World::boot(plan(1, &[("web", 2), ("worker", 1)]));
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(1, &[20000, 20001])));
    world.requests_under_way = true;
    world.deploy(plan(2, &[("web", 1), ("worker", 1)]));
    world.all_ready();
    world.exit("worker.1@1", 0);
    world.pass(1);
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(2, &[20002])));
    let did = world.did();
    let at = |what: &str| did.iter().position(|line| line == what).expect(what);
    assert!(at("switch") < at("drain web.1@1") && at("drain web.2@1") < did.len(), "{did:?}");
    assert!(did.contains(&"done".to_owned()) && !did.contains(&"term web.1@1".to_owned()), "{did:?}");
    assert!(world.states().contains(&"web.1@1 draining".to_owned()));

    // The next change need not wait for them.
    world.deploy(plan(3, &[("web", 1), ("worker", 1)]));
    world.all_ready();
    let id = world.core.instances().find(|(_, one)| one.release == 1).unwrap().0;
    world.did();
    world.send(Event::Drained { id });
    assert_eq!(world.did(), ["term web.1@1"]);
    world.pass(60);
    assert!(world.did().contains(&"term web.2@1".to_owned()), "patience has an end");
}

#[test]
fn what_scaling_takes_away_gets_no_requests_before_it_ends() {
    let mut world = World::boot(plan(1, &[("web", 3)]));
    world.requests_under_way = true;
    world.change(plan(1, &[("web", 1)]), Replace::Missing);
    assert_eq!(world.did(), ["switch", "done", "drain web.2@1", "drain web.3@1"]);
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(1, &[20000])));
}

#[test]
fn a_crash_changes_no_route_and_a_stop_ends_it_first() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    let told = world.routes.len();
    world.exit("web.1@1", 1);
    world.all_ready();
    assert_eq!(world.routes.len(), told, "the port is the same");
    let stop = world.core.handle(world.now, Event::Stop { job: Job(1) });
    assert_eq!(stop[0], Action::Route(None));
    assert!(matches!(stop[1], Action::Terminate { .. }), "{stop:?}");
}

#[test]
fn the_next_supervisor_says_where_requests_go_and_drains_what_gets_none() {
    let mut world = World::new();
    world.requests_under_way = true;
    let found = vec![found(1, "web.1", 1, false), found(2, "web.1", 2, true)];
    let port = found[1].port.unwrap();
    world.send(Event::Boot { plan: Some(plan(2, &[("web", 1)])), found });
    assert_eq!(world.did(), ["drain web.1@1"]);
    assert_eq!(world.routes, [Some(route(2, &[port]))]);
}

#[test]
fn an_instance_gets_requests_when_it_has_been_ready() {
    let mut world = World::new();
    world.send(Event::Boot { plan: Some(plan(1, &[("web", 2)])), found: vec![] });
    assert_eq!(world.routes, [Some(route(1, &[]))]);
    world.ready("web.2@1");
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(1, &[20001])));
    world.ready("web.1@1");
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(1, &[20000, 20001])));
}

#[test]
fn what_announces_its_readiness_is_ready_when_it_says_so_and_one_that_listens_is_asked_then() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    let mut types = plan(2, &[("web", 1), ("notify", 1)]);
    types.types[0].notifies = true;
    let probes = world.probes;
    world.deploy(types.clone());
    world.pass(30);
    assert_eq!(world.probes, probes, "nobody asks before it says so");
    assert_eq!(world.states()[1..], ["web.1@2 starting", "notify.1@2 starting"]);
    let (web, worker) = (world.id("web.1@2"), world.id("notify.1@2"));
    world.send(Event::Notified { id: worker });
    world.send(Event::Notified { id: web });
    world.send(Event::Notified { id: web });
    assert_eq!(world.probes, probes + 1);
    assert_eq!(world.states()[1..], ["web.1@2 starting", "notify.1@2 running"]);
    world.ready("web.1@2");
    assert_eq!(world.did()[2..], ["switch", "done", "term web.1@1"]);

    world.exit("web.1@1", 0);
    types.release = 3;
    world.deploy(types);
    world.pass(60);
    let id = world.id("web.1@3");
    world.send(Event::Listens { id, ports: vec![] });
    world.exit("web.1@3", 143);
    let told = world.did().pop().unwrap();
    assert!(told.contains("web.1 was not ready within 60 s: it did not say READY=1"), "{told}");
}

#[test]
fn a_question_has_an_interval_and_an_end() {
    let mut paced = plan(1, &[("web", 1)]);
    paced.pace = Pace { interval: Some(secs(5)), timeout: secs(2), announced: false };
    let mut world = World::new();
    world.send(Event::Boot { plan: Some(paced), found: vec![] });
    assert_eq!(world.probes, 1);
    // Unanswered for two seconds, and five later asked again.
    world.pass(6);
    assert_eq!(world.probes, 1);
    world.pass(1);
    assert_eq!(world.probes, 2);
    world.send(Event::Probed { id: Id(1), outcome: Outcome::Refused });
    world.pass(4);
    assert_eq!(world.probes, 2);
    world.pass(1);
    assert_eq!(world.probes, 3);
}

#[test]
fn a_cron_runs_once_at_a_time_beside_all_else_and_ends_with_a_stop() {
    let mut world = World::boot(plan(1, &[("worker", 1)]));
    let due = || Event::Due { kind: "cron".parse().unwrap() };
    world.send(due());
    world.send(due());
    assert_eq!(world.did(), ["spawn cron.1@1"], "not while it runs");
    world.send(Event::Due { kind: "other".parse().unwrap() });
    // A deploy goes on beside it.
    world.deploy(plan(2, &[("worker", 1)]));
    world.exit("worker.1@1", 143);
    world.pass(1);
    assert_eq!(world.states(), ["cron.1@1 once", "worker.1@2 running"]);
    world.exit("cron.1@1", 1);
    assert_eq!(world.states(), ["worker.1@2 running"], "nobody starts it again");
    world.log.clear();
    world.send(due());
    assert_eq!(world.did(), ["spawn cron.1@2"]);
    world.send(Event::Stop { job: Job(2) });
    assert_eq!(world.did(), ["term worker.1@2", "term cron.1@2"]);
    world.exit("worker.1@2", 143);
    world.exit("cron.1@2", 143);
    assert_eq!(world.did(), ["done"]);
    world.send(due());
    assert_eq!(world.did(), [""; 0], "nothing of a stopped app is due");
}
