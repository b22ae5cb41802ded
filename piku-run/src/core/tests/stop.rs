//! Stop, and what comes after it.

use super::*;

#[test]
fn stop_terms_waits_kills_and_is_done_when_all_are_gone() {
    let mut world = World::boot(plan(1, &[("web", 1), ("worker", 1)]));
    world.send(CoreEvent::Stop { job: JobId(1) });
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
    world.send(CoreEvent::Stop { job: JobId(2) });
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
    world.send(CoreEvent::Stop { job: JobId(1) });
    world.send(CoreEvent::Stop { job: JobId(2) });
    assert_eq!(world.did(), ["done", "done"]);
}

#[test]
fn restart_works_after_stop() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.send(CoreEvent::Stop { job: JobId(1) });
    world.exit("web.1@1", 0);
    world.log.clear();
    world.change(plan(1, &[("web", 1)]), ReplaceScope::All);
    world.all_ready();
    assert_eq!(world.did(), ["spawn web.1@1", "switch", "done"]);
    assert_eq!(world.states(), ["web.1@1 healthy"]);
}
