//! When an instance is ready.

use super::*;

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
