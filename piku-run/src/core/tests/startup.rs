//! Facts that a deploy prints about an instance on trial before its time is up.

use super::*;

/// A deploy of one web instance, which is observed as `seen` says after each of the given seconds.
struct Trial {
    world: World,
    id: InstanceId,
}

impl Trial {
    fn begin() -> Self {
        let mut world = World::new();
        world.send(CoreEvent::Boot { plan: None, found: vec![] });
        world.deploy(plan(1, &[("web", 1)]));
        world.log.clear();
        Self { world, id: InstanceId(1) }
    }

    /// Returns what is said when the next second has passed, with this outcome of a check.
    fn observed(&mut self, outcome: Option<ProbeOutcome>, seen: StartObservation) -> Vec<String> {
        if let Some(outcome) = outcome {
            self.world.send(CoreEvent::Probed { id: self.id, outcome });
        }
        self.world.pass(1);
        self.world.send(CoreEvent::Observed { id: self.id, seen });
        let said = std::mem::take(&mut self.world.log);
        said.into_iter().filter(|line| !line.starts_with("diagnose")).collect()
    }
}

fn busy(seconds: u64) -> StartObservation {
    StartObservation { cpu: secs(seconds), ..StartObservation::default() }
}

#[test]
fn a_wrong_port_is_said_after_a_second_and_once() {
    let mut trial = Trial::begin();
    let said = trial.observed(Some(ProbeOutcome::Refused), listening(&[8080, 9100]));
    assert_eq!(
        said,
        [
            "say web.1 listens on :8080, nothing listens on PORT 20000 so far: it must listen on the port in $PORT, or \
          get that one by PORT=8080 in ENV"
        ]
    );
    for _ in 0..20 {
        assert!(trial.observed(Some(ProbeOutcome::Refused), listening(&[8080])).is_empty());
    }
}

#[test]
fn a_declared_port_is_no_wrong_one() {
    let mut trial = Trial::begin();
    assert!(trial.observed(Some(ProbeOutcome::Refused), listening(&[9100])).is_empty());
}

#[test]
fn another_address_is_named() {
    let mut trial = Trial::begin();
    let listeners = vec![([127, 0, 0, 2], 20000).into()];
    let seen = StartObservation { listeners, ..StartObservation::default() };
    let said = trial.observed(Some(ProbeOutcome::Refused), seen);
    assert_eq!(
        said,
        [
            "say web.1 listens on 127.0.0.2:20000, not on 127.0.0.1: it must listen there ($BIND_ADDRESS) or on all \
          addresses"
        ]
    );
}

#[test]
fn each_bad_status_is_said_once_and_not_without_end() {
    let mut trial = Trial::begin();
    let mut said = vec![];
    for status in (500..520).chain(500..510) {
        said.extend(trial.observed(Some(ProbeOutcome::Http(status)), listening(&[20000])));
    }
    assert_eq!(
        said[0],
        "say web.1 answers 500 to GET / on PORT 20000: it is asked until it answers a status below 500, for 60 s \
         (HEALTHCHECK_START_PERIOD)"
    );
    assert_eq!(said.len(), 8);
}

#[test]
fn an_app_that_wants_to_run_is_not_said_to_wait_for_a_database() {
    for (seen, wanted) in [
        (StartObservation { is_runnable: true, ..busy(0) }, "it gets hardly any CPU time (0.0 s so far)"),
        (StartObservation { waits_for_disk: true, ..busy(0) }, "it waits for a disk"),
    ] {
        let mut trial = Trial::begin();
        let said: Vec<String> =
            (0..31).flat_map(|_| trial.observed(Some(ProbeOutcome::Refused), seen.clone())).collect();
        assert!(said.iter().any(|line| line.contains(wanted)), "{said:?}");
        assert!(said.iter().all(|line| !line.contains("database")), "{said:?}");
    }
}

#[test]
fn a_slow_start_is_called_slow_and_says_whether_it_works() {
    let mut trial = Trial::begin();
    let mut said = vec![];
    for second in 1..=10 {
        said.extend(trial.observed(Some(ProbeOutcome::Refused), busy(second)));
    }
    assert_eq!(
        said,
        [
            "say web.1 starts slowly: nothing listens on PORT 20000 after 5 s, it is working (5.0 s of CPU time so \
          far); it has 60 s (HEALTHCHECK_START_PERIOD)"
        ]
    );
    let mut said = vec![];
    for _ in 11..=31 {
        said.extend(trial.observed(Some(ProbeOutcome::Refused), busy(10)));
    }
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("after 30 s, it uses no CPU time (10.0 s so far): it may wait"), "{said:?}");
}

#[test]
fn the_error_says_it_all_once_more_with_the_ways_out() {
    let end = |outcome: ProbeOutcome, seen: fn(u64) -> StartObservation| {
        let mut world = World::new();
        world.send(CoreEvent::Boot { plan: None, found: vec![] });
        world.deploy(plan(1, &[("web", 1)]));
        let id = InstanceId(1);
        for second in 1..60 {
            world.send(CoreEvent::Probed { id, outcome: outcome.clone() });
            world.pass(1);
            world.send(CoreEvent::Observed { id, seen: seen(second) });
        }
        world.pass(1);
        world.send(CoreEvent::Observed { id, seen: seen(60) });
        let now = world.now;
        let actions = world.core.handle_event(now, CoreEvent::Exited { id, exit: ProcessExit::Code(143) });
        let error = actions.into_iter().find_map(|action| match action {
            CoreAction::FinishJob { result: Err(error), .. } => Some(error),
            _ => None,
        });
        error.unwrap()
    };
    let error = end(ProbeOutcome::Refused, |_| listening(&[8080]));
    assert!(error.reason.contains("the process listens on :8080"), "{}", error.reason);
    assert!(error.hints[0].contains("piku config:set blog PORT=8080"), "{:?}", error.hints);

    let error = end(ProbeOutcome::Refused, busy);
    assert!(
        error.reason.ends_with("must listen on the port in $PORT; it is working (60.0 s of CPU time so far)"),
        "{}",
        error.reason
    );
    assert!(error.hints[0].contains("HEALTHCHECK_START_PERIOD=120 in ENV"), "{:?}", error.hints);

    let error = end(ProbeOutcome::Http(404), |_| listening(&[20000]));
    assert!(error.reason.contains("it answered 404 to GET / on port 20000"), "{}", error.reason);
    assert!(error.hints[0].contains("HEALTHCHECK_HOST"), "{:?}", error.hints);
}

#[test]
fn processes_that_end_and_are_started_again_are_said() {
    let worker = |pid: i32, name: &str| ObservedProcess { pid, parent: 10, name: name.to_owned() };
    let seen = |pids: &[(i32, &str)]| StartObservation {
        processes: pids.iter().map(|(pid, name)| worker(*pid, name)).collect(),
        ..StartObservation::default()
    };
    let mut trial = Trial::begin();
    // A wait for another server, and the successor of a first script, are not restarts.
    for pids in [[(20, "sleep"), (30, "node")], [(21, "sleep"), (31, "node")], [(22, "sleep"), (31, "node")]]
    {
        assert!(trial.observed(None, seen(&pids)).is_empty());
    }
    assert_eq!(
        trial.observed(None, seen(&[(23, "sleep"), (32, "node")])),
        ["say processes of web.1 end and are started again (node); "]
    );
}
