//! Deploys: all of the new, or the old untouched.

use super::*;

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
    world.send(CoreEvent::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("web", 1), ("worker", 2)]));
    assert_eq!(world.did(), ["spawn web.1@1", "spawn worker.1@1", "spawn worker.2@1"]);
    world.all_ready();
    assert_eq!(world.did(), ["switch", "done"]);
}

#[test]
fn a_deploy_of_nothing_to_run_succeeds() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: None, found: vec![] });
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
    world.send(CoreEvent::Boot { plan: None, found: vec![] });
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
    world.send(CoreEvent::Probed { id, outcome: ProbeOutcome::Refused });
    // It is asked again, and accepts, before its time is up.
    world.pass(3);
    world.log.clear();
    world.send(CoreEvent::Observed { id, seen: listening(&[20001]) });
    world.exit("web.1@2", 143);
    let why = "it accepted GET / on port 20001 and did not answer within 30 s (HEALTHCHECK_TIMEOUT)";
    assert_eq!(
        world.did(),
        [
            "term web.1@2",
            &format!("failed web.1 was not healthy within 60 s (HEALTHCHECK_START_PERIOD): {why}")
        ]
    );
}

#[test]
fn a_new_instance_on_a_wrong_port_is_told_where_it_listens() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    let id = world.id("web.1@2");
    world.pass(59);
    world.send(CoreEvent::Probed { id, outcome: ProbeOutcome::Refused });
    world.log.clear();
    world.now += secs(1);
    world.send(CoreEvent::Tick);
    assert_eq!(world.did(), ["diagnose web.1@2"]);
    world.send(CoreEvent::Observed { id, seen: listening(&[3000]) });
    assert_eq!(world.did(), ["term web.1@2"]);
    world.exit("web.1@2", 143);
    assert_eq!(
        world.did(),
        [
            "failed nothing listens on PORT 20001; the process listens on :3000 (web.1, after 60 s (HEALTHCHECK_START_PERIOD))"
        ]
    );
}

#[test]
fn an_unhealthy_answer_is_named() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("web", 1)]));
    world.send(CoreEvent::Probed { id: InstanceId(1), outcome: ProbeOutcome::Http(500) });
    world.pass(60);
    world.send(CoreEvent::Observed { id: InstanceId(1), seen: listening(&[20000]) });
    world.exit("web.1@1", 0);
    assert_eq!(
        world.did().last().unwrap(),
        "failed web.1 was not healthy within 60 s (HEALTHCHECK_START_PERIOD): it answered 500 to GET / on port 20000"
    );
}

#[test]
fn an_unhealthy_answer_is_named_although_the_last_check_was_refused() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("web", 1)]));
    world.send(CoreEvent::Probed { id: InstanceId(1), outcome: ProbeOutcome::Http(500) });
    world.pass(59);
    world.send(CoreEvent::Probed { id: InstanceId(1), outcome: ProbeOutcome::Refused });
    world.pass(1);
    world.send(CoreEvent::Observed { id: InstanceId(1), seen: listening(&[]) });
    world.exit("web.1@1", 0);
    assert_eq!(
        world.did().last().unwrap(),
        "failed web.1 was not healthy within 60 s (HEALTHCHECK_START_PERIOD): it answered 500 to GET / on port 20000"
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
        world.send(CoreEvent::Change { job: JobId(1), plan, replace: ReplaceScope::All, task: true });
    };
    deploy(&mut world, 2);
    assert_eq!(world.did(), ["task 2"]);
    world.send(CoreEvent::TaskEnded(Ok(ProcessExit::Code(2))));
    assert_eq!(world.did(), ["failed the release task exited with code 2"]);
    deploy(&mut world, 3);
    world.pass(7);
    world.send(CoreEvent::TaskEnded(Ok(ProcessExit::Code(0))));
    assert!(world.log.contains(&"say the release task took 7.0 s".to_owned()), "{:?}", world.log);
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
    world.send(CoreEvent::Change {
        job: JobId(2),
        plan: plan(1, &[("web", 1)]),
        replace: ReplaceScope::All,
        task: false,
    });
    assert_eq!(world.did(), ["failed another change of this app is under way"]);
}

#[test]
fn a_switch_that_fails_undoes_the_deploy() {
    let mut core = SupervisorCore::new(OnExit::Restart, InstanceId(0));
    let now = secs(1);
    core.handle_event(now, CoreEvent::Boot { plan: None, found: vec![] });
    let deploy = CoreEvent::Change {
        job: JobId(1),
        plan: plan(1, &[("web", 1)]),
        replace: ReplaceScope::All,
        task: false,
    };
    core.handle_event(now, deploy);
    core.handle_event(now, CoreEvent::Spawned { id: InstanceId(1), port: Some(1) });
    let route = AppRoute { release: 1, ports: vec![1] };
    assert!(
        core.handle_event(now, CoreEvent::Probed { id: InstanceId(1), outcome: ProbeOutcome::Alive })
            .contains(&CoreAction::Switch { job: JobId(1), route })
    );
    // It may have requests by now.
    let actions = core.handle_event(now, CoreEvent::Switched(Err("disk full".into())));
    assert_eq!(actions, [CoreAction::Route(None), CoreAction::Drain { id: InstanceId(1) }]);
    let actions = core.handle_event(now, CoreEvent::Drained { id: InstanceId(1) });
    assert_eq!(actions, [CoreAction::Terminate { id: InstanceId(1) }]);
    let actions = core.handle_event(now, CoreEvent::Exited { id: InstanceId(1), exit: ProcessExit::Code(0) });
    assert!(matches!(actions.last(), Some(CoreAction::FinishJob { result: Err(_), .. })));
}
