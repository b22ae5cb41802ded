//! Boot, and what crashes.

use super::*;

#[test]
fn boot_starts_every_place_and_waits_for_its_answer() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("web", 2), ("worker", 1)])), found: vec![] });
    assert_eq!(world.did(), ["spawn web.1@1", "spawn web.2@1", "spawn worker.1@1"]);
    assert_eq!(world.states(), ["web.1@1 starting", "web.2@1 starting", "worker.1@1 starting"]);
    world.ready("web.1@1");
    world.pass(1);
    assert_eq!(world.states(), ["web.1@1 healthy", "web.2@1 starting", "worker.1@1 running"]);
    assert_ne!(
        world.core.instance(InstanceId(1)).unwrap().port,
        world.core.instance(InstanceId(2)).unwrap().port
    );
}

#[test]
fn an_instance_at_boot_that_is_slow_is_not_killed() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("web", 1)])), found: vec![] });
    for _ in 0..300 {
        world.pass(1);
        world.send(CoreEvent::Probed { id: InstanceId(1), outcome: ProbeOutcome::Refused });
    }
    assert_eq!(world.states(), ["web.1@1 starting"]);
    world.pass(2);
    world.ready("web.1@1");
    assert_eq!(world.states(), ["web.1@1 healthy"]);
}

#[test]
fn a_first_crash_is_restarted_at_once_on_the_same_port() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    let port = world.core.instance(InstanceId(1)).unwrap().port;
    world.exit("web.1@1", 1);
    assert_eq!(world.did(), ["spawn web.1@1"]);
    let one = world.core.instance(InstanceId(1)).unwrap();
    assert_eq!((one.port, one.restarts, one.last_exit), (port, 1, Some(ProcessExit::Code(1))));
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
        let wait = world.core.next_deadline().unwrap().saturating_sub(world.now);
        assert!(wait > waited, "{wait:?} after {waited:?}");
        waited = wait;
        world.now += wait;
        world.send(CoreEvent::Tick);
        assert_eq!(world.states(), ["worker.1@1 starting"]);
    }
    let told = |world: &mut World| -> Vec<String> {
        world.did().into_iter().filter(|line| line.starts_with("crash loop")).collect()
    };
    assert_eq!(told(&mut world), ["crash loop of worker.1 begins"]);
    world.pass(59);
    assert_eq!(told(&mut world), [""; 0]);
    world.pass(2);
    assert_eq!(told(&mut world), ["crash loop of worker.1 ends"]);
    assert_eq!(world.core.next_deadline(), None, "a supervisor with nothing to do sleeps");
    assert_eq!(world.states(), ["worker.1@1 running"]);
    world.exit("worker.1@1", 1);
    assert_eq!(world.states(), ["worker.1@1 starting"], "at once again");
}

#[test]
fn a_crash_loop_ends_with_the_release_that_has_it() {
    let mut world = World::boot(plan(1, &[("worker", 1)]));
    for _ in 0..5 {
        world.exit("worker.1@1", 1);
        world.pass(9);
    }
    let told =
        |world: &mut World| world.did().into_iter().filter(|line| line.starts_with("crash loop")).count();
    assert_eq!(told(&mut world), 1);
    world.send(CoreEvent::Stop { job: JobId(9) });
    world.exit("worker.1@1", 0);
    assert_eq!(told(&mut world), 1);
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
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("web", 1)])), found: vec![] });
    world.pass(3);
    let spawns = world.did().len();
    assert!((2..=4).contains(&spawns), "{spawns}");
}
