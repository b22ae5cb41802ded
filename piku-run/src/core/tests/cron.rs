//! Crons.

use super::*;

#[test]
fn a_cron_runs_once_at_a_time_beside_all_else_and_ends_with_a_stop() {
    let mut world = World::boot(plan(1, &[("worker", 1)]));
    let due = || CoreEvent::CronDue { kind: "cron".parse().unwrap() };
    world.send(due());
    world.send(due());
    assert_eq!(world.did(), ["spawn cron.1@1"], "not while it runs");
    world.send(CoreEvent::CronDue { kind: "other".parse().unwrap() });
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
    world.send(CoreEvent::Stop { job: JobId(2) });
    assert_eq!(world.did(), ["term worker.1@2", "term cron.1@2"]);
    world.exit("worker.1@2", 143);
    world.exit("cron.1@2", 143);
    assert_eq!(world.did(), ["done"]);
    world.send(due());
    assert_eq!(world.did(), [""; 0], "nothing of a stopped app is due");
}
