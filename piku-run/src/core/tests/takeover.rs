//! Instances that a new supervisor finds running.

use super::*;

#[test]
fn living_workers_are_taken_over_and_only_what_is_missing_is_started() {
    let mut world = World::new();
    let found = vec![found(7, "web.1", 1, true), found(9, "gone.1", 1, true)];
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("web", 2)])), found });
    assert_eq!(world.did(), ["spawn web.2@1", "term gone.1@1"]);
    let one = world.core.instance(InstanceId(7)).unwrap();
    assert_eq!((one.restarts, one.is_up(), one.running_since()), (4, true, Some(secs(900))));
    assert!(world.core.instance(InstanceId(10)).is_some(), "ids go on behind those found");
}

#[test]
fn a_half_made_deploy_is_ended_and_a_finished_one_is_taken() {
    // Killed before the switch: release 1 is live.
    let mut world = World::new();
    let both = vec![found(1, "web.1", 1, true), found(2, "web.1", 2, false)];
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("web", 1)])), found: both.clone() });
    assert_eq!(world.did(), ["term web.1@2"]);
    // Killed after it, before the records were written: release 2 is.
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: Some(plan(2, &[("web", 1)])), found: both });
    assert_eq!(world.did(), ["term web.1@1"]);
    assert!(world.core.instance(InstanceId(2)).unwrap().live);
    // A restart of the same release, half done: the old one.
    let mut world = World::new();
    let found = vec![found(2, "web.1", 1, false), found(1, "web.1", 1, true)];
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("web", 1)])), found });
    assert_eq!(world.did().len(), 1);
    assert!(world.core.instance(InstanceId(1)).unwrap().live);
}

#[test]
fn workers_of_a_stopped_app_are_ended_at_boot() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: None, found: vec![found(1, "web.1", 1, true)] });
    assert_eq!(world.did(), ["term web.1@1"]);
}

#[test]
fn a_foreman_stops_all_when_one_ends() {
    let mut world = World::new();
    world.core = SupervisorCore::new(OnExit::StopAll, InstanceId(0));
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("a", 1), ("b", 1)])), found: vec![] });
    world.log.clear();
    world.exit("a.1@1", 3);
    assert_eq!(world.did(), ["term b.1@1"]);
    world.exit("b.1@1", 0);
    assert!(world.core.is_idle());
}

#[test]
fn an_idle_app_has_no_timer() {
    let world = World::boot(plan(1, &[("web", 2), ("worker", 3)]));
    assert_eq!(world.core.next_deadline(), None);
}
