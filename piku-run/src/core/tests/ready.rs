//! The conditions for an instance to be ready.

use super::*;

#[test]
fn what_announces_its_readiness_is_ready_when_it_says_so_and_one_that_listens_is_asked_then() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    let mut types = plan(2, &[("web", 1), ("notify", 1)]);
    types.types[0].notifies = true;
    let probes = world.probes;
    world.deploy(types.clone());
    world.pass(30);
    assert_eq!(world.probes, probes, "no probe before READY=1");
    assert_eq!(world.states()[1..], ["web.1@2 starting", "notify.1@2 starting"]);
    let (web, worker) = (world.id("web.1@2"), world.id("notify.1@2"));
    world.send(CoreEvent::Notified { id: worker });
    world.send(CoreEvent::Notified { id: web });
    world.send(CoreEvent::Notified { id: web });
    assert_eq!(world.probes, probes + 1);
    assert_eq!(world.states()[1..], ["web.1@2 starting", "notify.1@2 running"]);
    world.ready("web.1@2");
    assert_eq!(world.did()[2..], ["switch", "done", "term web.1@1"]);

    world.exit("web.1@1", 0);
    types.release = 3;
    world.deploy(types);
    world.pass(60);
    let id = world.id("web.1@3");
    world.send(CoreEvent::Observed { id, seen: listening(&[]) });
    world.exit("web.1@3", 143);
    let told = world.did().pop().unwrap();
    assert!(
        told.contains("web.1 was not ready within 60 s (HEALTHCHECK_START_PERIOD): it did not say READY=1"),
        "{told}"
    );
}

/// A worker's only process, asleep after this much work.
fn asleep(cpu: u64) -> StartObservation {
    let process = ObservedProcess { pid: 7, parent: 1, name: "worker".to_owned() };
    StartObservation {
        cpu: secs(cpu),
        is_asleep: true,
        processes: vec![process],
        ..StartObservation::default()
    }
}

#[test]
fn a_worker_is_ready_when_two_looks_in_a_row_find_it_idle() {
    let mut world = World::boot(plan(1, &[("overlap", 1)]));
    world.deploy(plan(2, &[("overlap", 1)]));
    let id = world.id("overlap.1@2");
    let awake = StartObservation { is_asleep: false, ..asleep(2) };
    let ended = StartObservation::default();
    for seen in
        [asleep(1), asleep(1), asleep(2), asleep(2), awake, asleep(2), ended.clone(), ended, asleep(2)]
    {
        world.send(CoreEvent::Observed { id, seen });
        assert_eq!(world.states()[1], "overlap.1@2 starting");
    }
    world.send(CoreEvent::Observed { id, seen: asleep(2) });
    assert_eq!(world.states()[1], "overlap.1@2 starting");
    world.send(CoreEvent::Observed { id, seen: asleep(2) });
    assert!(world.states().contains(&"overlap.1@2 running".to_owned()), "{:?}", world.states());
}

#[test]
fn a_busy_worker_is_ready_after_a_second_and_one_with_a_time_after_that() {
    for (uptime, seconds) in [(None, 1), (Some(secs(5)), 5)] {
        let mut world = World::boot(plan(1, &[("overlap", 1)]));
        let mut asked = plan(2, &[("overlap", 1)]);
        asked.pace.uptime = uptime;
        world.deploy(asked);
        let id = world.id("overlap.1@2");
        for _ in 1..seconds {
            world.pass(1);
            for _ in 0..4 {
                world.send(CoreEvent::Observed { id, seen: asleep(1) });
            }
            assert_eq!(world.states()[1], "overlap.1@2 starting", "{uptime:?}");
        }
        world.pass(1);
        assert!(world.states().contains(&"overlap.1@2 running".to_owned()), "{uptime:?}");
    }
}

#[test]
fn a_question_has_an_interval_and_an_end() {
    let mut paced = plan(1, &[("web", 1)]);
    paced.pace = ProbePace { interval: Some(secs(5)), timeout: secs(2), ..ProbePace::default() };
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: Some(paced), found: vec![] });
    assert_eq!(world.probes, 1);
    // Unanswered for two seconds, late for ten, and then asked again.
    world.pass(11);
    assert_eq!(world.probes, 1);
    world.pass(1);
    assert_eq!(world.probes, 2);
    world.send(CoreEvent::Probed { id: InstanceId(1), outcome: ProbeOutcome::Refused });
    world.pass(4);
    assert_eq!(world.probes, 2);
    world.pass(1);
    assert_eq!(world.probes, 3);
}

/// Answers each question in this way until the deploy's time is up; returns what the deploy ended with.
fn deploy_answered(outcome: &ProbeOutcome) -> String {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    let id = world.id("web.1@2");
    let probes = world.probes;
    for _ in 0..60 {
        world.send(CoreEvent::Probed { id, outcome: outcome.clone() });
        assert_eq!(world.states()[1], "web.1@2 starting", "{outcome:?}");
        world.pass(1);
    }
    assert!(world.probes > probes + 10, "it is asked again: {outcome:?}");
    assert_eq!(world.did().last().unwrap(), "diagnose web.1@2");
    world.send(CoreEvent::Observed { id, seen: listening(&[20001]) });
    world.exit("web.1@2", 143);
    assert_eq!(world.states(), ["web.1@1 healthy"], "the old one serves on");
    assert_eq!(world.core.plan().unwrap().release, 1);
    world.did().pop().unwrap()
}

#[test]
fn no_answer_that_is_not_good_makes_an_instance_ready_however_long_it_stays_up() {
    for (outcome, word) in [
        (ProbeOutcome::Closed, "it accepted GET / on port 20001 and closed the connection without an answer"),
        (ProbeOutcome::NotHttp, "its answer to GET / on port 20001 is not HTTP/1"),
        (ProbeOutcome::Http(503), "it answered 503 to GET / on port 20001"),
        (ProbeOutcome::Http(101), "it answered 101 to GET / on port 20001"),
    ] {
        let told = deploy_answered(&outcome);
        assert!(
            told.starts_with("failed web.1 was not healthy within 60 s") && told.contains(word),
            "{told}"
        );
    }
}

#[test]
fn an_instance_that_never_answers_is_not_ready_after_a_restart_a_scaling_or_a_boot() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    for (counts, replace, refused) in
        [(1, ReplaceScope::All, "web.1@1"), (2, ReplaceScope::Missing, "web.2@1")]
    {
        world.change(plan(1, &[("web", counts)]), replace);
        let id = world.id(refused);
        world.pass(60);
        assert!(world.did().contains(&format!("diagnose {refused}")));
        world.send(CoreEvent::Observed { id, seen: listening(&[]) });
        world.send(CoreEvent::Exited { id, exit: ProcessExit::Code(0) });
        let told = world.did().pop().unwrap();
        assert!(told.contains("and did not answer within 30 s"), "{told}");
        assert_eq!(world.states(), ["web.1@1 healthy"]);
    }

    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("web", 1)])), found: vec![] });
    world.pass(600);
    assert_eq!(world.states(), ["web.1@1 starting"]);
    assert_eq!(world.routes, [Some(AppRoute { release: 1, ports: vec![] })], "and gets no request");
    world.ready("web.1@1");
}

#[test]
fn an_answer_that_comes_too_late_is_waited_for_and_then_asked_for_again() {
    let mut paced = plan(1, &[("web", 1)]);
    paced.pace = ProbePace { timeout: secs(1), ..ProbePace::default() };
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: Some(paced), found: vec![] });
    world.pass(5);
    assert_eq!(world.probes, 1, "no second connection beside the first");
    world.send(CoreEvent::Probed { id: InstanceId(1), outcome: ProbeOutcome::Alive });
    assert_eq!((world.probes, world.states()[0].as_str()), (2, "web.1@1 starting"));
    world.send(CoreEvent::Probed { id: InstanceId(1), outcome: ProbeOutcome::Alive });
    assert_eq!(world.states(), ["web.1@1 healthy"]);
}

#[test]
fn a_status_that_is_no_success_is_told_in_the_line_that_says_ready() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    for (release, refuses_host, end) in [
        (2, false, ": it answers 404 to GET /"),
        (3, true, "; Django's ALLOWED_HOSTS lacks that name (HEALTHCHECK_HOST in ENV sets another)"),
    ] {
        world.deploy(plan(release, &[("web", 1)]));
        let id = world.id(&format!("web.1@{release}"));
        let reply = ClientErrorReply { status: 404, refuses_host };
        world.send(CoreEvent::Probed { id, outcome: ProbeOutcome::ClientError(reply) });
        let said = world.log.iter().rfind(|line| line.starts_with("say web.1 is healthy after 0.0 s: "));
        assert!(said.is_some_and(|line| line.ends_with(end)), "{:?}", world.log);
        assert!(world.did().contains(&"done".to_owned()));
        world.exit(&format!("web.1@{}", release - 1), 0);
    }
}
