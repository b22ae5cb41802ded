//! Ports taken by other processes.

use super::*;

fn taken(world: &mut World, name: &str) {
    let id = world.id(name);
    world.send(CoreEvent::PortTaken { id, by: "hog.1 of evil".into() });
}

fn ports(world: &World) -> Vec<u16> {
    world.routes.last().unwrap().as_ref().map(|route| route.ports.clone()).unwrap_or_default()
}

#[test]
fn a_stolen_port_gets_no_more_requests_and_the_instance_another() {
    let mut world = World::boot(plan(1, &[("web", 2)]));
    assert_eq!(ports(&world), [20000, 20001]);
    taken(&mut world, "web.1@1");
    assert_eq!(ports(&world), [20001], "before anything else");
    assert_eq!(world.did(), ["term web.1@1"]);
    assert_eq!(world.states(), ["web.1@1 moving", "web.2@1 healthy"]);
    taken(&mut world, "web.1@1");
    assert!(world.did().is_empty(), "told twice, done once");
    world.exit("web.1@1", 143);
    assert_eq!(world.did(), ["spawn web.1@1"]);
    assert_eq!(world.core.instance(InstanceId(1)).unwrap().port, Some(20002));
    world.ready("web.1@1");
    assert_eq!(ports(&world), [20002, 20001]);
}

#[test]
fn an_instance_that_ignores_sigterm_is_killed_and_moves_too() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    taken(&mut world, "web.1@1");
    world.pass(10);
    assert_eq!(world.did(), ["term web.1@1", "kill web.1@1"]);
    world.exit("web.1@1", 137);
    assert_eq!(world.did(), ["spawn web.1@1"]);
}

#[test]
fn a_deploy_whose_port_was_taken_goes_on_with_another_and_says_who_has_it() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    world.log.clear();
    // It could not listen and has ended for that.
    taken(&mut world, "web.1@2");
    world.exit("web.1@2", 1);
    assert!(
        world
            .log
            .contains(&"say port 20001 of web.1 is taken by hog.1 of evil: another one is used".to_owned()),
        "{:?}",
        world.log
    );
    assert!(world.did().contains(&"spawn web.1@2".to_owned()));
    world.ready("web.1@2");
    assert_eq!(world.did(), ["switch", "done", "term web.1@1"]);
    assert_eq!(ports(&world), [20002]);
}

#[test]
fn who_is_faster_each_time_fails_a_deploy_and_backs_off_what_is_live() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    while world.core.is_changing() {
        taken(&mut world, "web.1@2");
        world.exit("web.1@2", 1);
    }
    let told = world.did().pop().unwrap();
    assert!(told.starts_with("failed port 20009 of web.1 is taken by hog.1 of evil, as the 8 "), "{told}");
    assert_eq!(world.states(), ["web.1@1 healthy"]);

    let mut tries = 0;
    while world.core.instance(InstanceId(1)).unwrap().port.is_some() {
        taken(&mut world, "web.1@1");
        world.exit("web.1@1", 1);
        tries += 1;
        assert!(tries < 50, "it waits some time");
    }
    assert!(ports(&world).is_empty());
}

#[test]
fn a_crashed_instance_stays_in_the_route_until_its_port_is_lost_or_it_is_ready_on_another() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    let told = world.routes.len();
    world.exit("web.1@1", 1);
    world.exit("web.1@1", 1);
    assert_eq!(world.states(), ["web.1@1 backoff"]);
    assert_eq!(world.routes.len(), told, "its port is held, connections to it are refused");
    taken(&mut world, "web.1@1");
    assert!(ports(&world).is_empty());
    world.pass(60);
    assert_eq!(world.core.instance(InstanceId(1)).unwrap().port, Some(20001));
    assert!(ports(&world).is_empty(), "not ready");
    world.ready("web.1@1");
    assert_eq!(ports(&world), [20001]);

    // Where its port is not given back it comes on another, which is told when it is ready there.
    world.exit("web.1@1", 1);
    world.send(CoreEvent::Spawned { id: InstanceId(1), port: Some(20050) });
    assert_eq!(ports(&world), [20001]);
    world.pass(60);
    world.ready("web.1@1");
    assert_eq!(ports(&world), [20050]);
}

#[test]
fn a_crash_that_leaves_its_port_in_use_is_a_crash_all_the_same() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    for port in 20001..20006 {
        world.send(CoreEvent::PortLost { id: InstanceId(1), by: "connections".into() });
        world.exit("web.1@1", 1);
        assert!(ports(&world).is_empty());
        while world.core.instance(InstanceId(1)).unwrap().port.is_none() {
            world.pass(1);
        }
        world.ready("web.1@1");
        assert_eq!(ports(&world), [port]);
    }
    let one = world.core.instance(InstanceId(1)).unwrap();
    assert!(one.is_crash_looping() && one.restarts == 5, "{one:?}");
}

#[test]
fn a_port_that_is_taken_while_the_switch_is_made_is_taken_out_again() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.deploy(plan(2, &[("web", 1)]));
    let id = world.id("web.1@2");
    let now = world.now;
    let actions = world.core.handle_event(now, CoreEvent::Probed { id, outcome: ProbeOutcome::Alive });
    assert!(actions.iter().any(|action| matches!(action, CoreAction::Switch { .. })), "{actions:?}");
    world.core.handle_event(now, CoreEvent::PortTaken { id, by: "a stranger".into() });
    let actions = world.core.handle_event(now, CoreEvent::Switched(Ok(())));
    let routes: Vec<_> = actions.iter().filter(|action| matches!(action, CoreAction::Route(_))).collect();
    assert_eq!(routes, [&CoreAction::Route(Some(AppRoute { release: 2, ports: vec![] }))]);
}

#[test]
fn what_is_on_its_way_out_or_is_stopped_does_not_move() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    taken(&mut world, "web.1@1");
    world.send(CoreEvent::Stop { job: JobId(1) });
    world.exit("web.1@1", 143);
    assert_eq!(world.did(), ["term web.1@1", "done"]);
    assert!(world.core.is_idle());
    let mut world = World::boot(plan(1, &[("web", 1)]));
    world.send(CoreEvent::Stop { job: JobId(1) });
    taken(&mut world, "web.1@1");
    world.exit("web.1@1", 143);
    assert!(world.core.is_idle());
}
