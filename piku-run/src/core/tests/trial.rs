//! Workers that end during a change, and ports that a change hands over.

use super::*;

#[test]
fn a_plain_worker_beside_a_web_that_ends_is_reported_once_retried_and_fails_nothing() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("web", 1), ("beside", 2)]));
    world.log.clear();
    world.exit("beside.1@1", 1);
    world.exit("beside.2@1", 1);
    world.exit("beside.1@1", 1);
    assert_eq!(
        world.log,
        [
            "say beside.1 exited with code 1 after 0.0 s; it is started again with pauses: piku logs blog beside",
            "spawn beside.1@1",
            "spawn beside.2@1",
        ]
    );
    world.log.clear();
    world.ready("web.1@1");
    assert_eq!(world.did(), ["switch", "done"]);
    assert_eq!(world.states(), ["web.1@1 healthy", "beside.1@1 backoff", "beside.2@1 starting"]);
    world.pass(2);
    assert_eq!(world.did(), ["spawn beside.1@1"], "live, with the usual pauses");
}

#[test]
fn a_worker_that_ends_after_it_was_up_does_not_fail_a_slow_web() {
    let mut world = World::boot(plan(1, &[("web", 1), ("beside", 1)]));
    world.deploy(plan(2, &[("web", 1), ("beside", 1)]));
    world.ready("web.1@2");
    world.exit("beside.1@1", 0);
    world.exit("beside.1@2", 0);
    assert!(world.did().contains(&"done".to_owned()));
    assert_eq!(world.core.plan().unwrap().release, 2);
}

#[test]
fn without_a_web_a_worker_that_fails_fails_the_deploy_and_one_that_is_done_does_not() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("bot", 1), ("task", 1)]));
    world.exit("task.1@1", 0);
    world.pass(1);
    assert_eq!(world.did()[2..], ["spawn task.1@1", "switch", "done"]);

    world.deploy(plan(2, &[("bot", 1)]));
    world.exit("bot.1@1", 143);
    world.exit("task.1@1", 143);
    world.log.clear();
    world.exit("bot.1@2", 1);
    assert!(world.did().contains(&"failed bot.1 exited with code 1 before it was ready".to_owned()));
    assert_eq!(world.core.plan().unwrap().release, 1);
}

#[test]
fn an_app_of_which_nothing_keeps_running_is_not_live() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: None, found: vec![] });
    world.deploy(plan(1, &[("task", 1)]));
    world.exit("task.1@1", 0);
    world.exit("task.1@1", 0);
    assert_eq!(
        world.did().last().unwrap(),
        "failed nothing of the app keeps running: task.1 exited with code 0"
    );
    assert!(world.core.is_idle());
}

fn pinned(release: u64) -> RunPlan {
    let mut plan = plan(release, &[("web", 1)]);
    plan.types[0].pinned = Some(20000);
    plan
}

#[test]
fn an_instance_with_a_pinned_port_starts_when_the_old_one_has_ended() {
    let mut world = World::boot(pinned(1));
    world.next_port = 20000;
    world.deploy(pinned(2));
    assert_eq!(
        world.log,
        [
            "say Stopping the old web.1: only one can have PORT=20000, requests fail until the new one is healthy",
            "term web.1@1",
        ]
    );
    world.log.clear();
    world.exit("web.1@1", 0);
    assert_eq!(world.did(), ["spawn web.1@2"]);
    world.ready("web.1@2");
    assert_eq!(world.did(), ["switch", "done"]);

    // If it fails, the old one comes back.
    world.next_port = 20000;
    world.deploy(pinned(3));
    world.exit("web.1@2", 0);
    world.next_port = 20000;
    world.exit("web.1@3", 1);
    assert_eq!(
        world.did(),
        [
            "term web.1@2",
            "spawn web.1@3",
            "spawn web.1@2",
            "failed web.1 exited with code 1 before it was ready"
        ]
    );
}

#[test]
fn another_port_is_pinned_without_a_pause() {
    let mut world = World::boot(pinned(1));
    let mut other = pinned(2);
    other.types[0].pinned = Some(20001);
    world.deploy(other);
    assert_eq!(world.did(), ["spawn web.1@2"]);
}
