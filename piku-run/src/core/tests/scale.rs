//! Restarts of one type, and scaling.

use super::*;

#[test]
fn restart_of_one_type_leaves_the_others() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 1)]));
    world.change(plan(1, &[("web", 1), ("worker", 1)]), ReplaceScope::Type("worker".parse().unwrap()));
    assert_eq!(world.did(), ["term worker.1@1"]);
    world.exit("worker.1@1", 0);
    world.pass(1);
    assert_eq!(world.did(), ["spawn worker.1@1", "switch", "done"]);
}

#[test]
fn scaling_starts_what_is_missing_and_stops_what_is_too_much() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 2)]));
    world.change(plan(1, &[("web", 3), ("worker", 1)]), ReplaceScope::Missing);
    assert_eq!(world.did(), ["spawn web.2@1", "spawn web.3@1"]);
    world.all_ready();
    assert_eq!(world.did(), ["switch", "term worker.2@1", "done"]);
    world.exit("worker.2@1", 0);
    world.change(plan(1, &[("web", 3), ("worker", 3)]), ReplaceScope::Missing);
    assert_eq!(world.did(), ["spawn worker.2@1", "spawn worker.3@1"], "beside their like");
}

#[test]
fn a_scaling_that_fails_keeps_what_was() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.change(plan(1, &[("web", 2)]), ReplaceScope::Missing);
    world.exit("web.2@1", 1);
    assert_eq!(world.states(), ["web.1@1 healthy"]);
    assert_eq!(world.core.plan().unwrap().types[0].count, 1);
}
