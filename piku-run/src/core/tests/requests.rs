//! Routes of requests, and their changes.

use super::*;

fn route(release: u64, ports: &[u16]) -> AppRoute {
    AppRoute { release, ports: ports.to_vec() }
}

#[test]
fn requests_are_sent_to_the_new_before_the_old_ends_and_the_old_finishes_those_it_has() {
    let mut world = World::boot(plan(1, &[("web", 2), ("worker", 1)]));
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(1, &[20000, 20001])));
    world.requests_under_way = true;
    world.deploy(plan(2, &[("web", 1), ("worker", 1)]));
    world.all_ready();
    world.exit("worker.1@1", 0);
    world.pass(1);
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(2, &[20002])));
    let did = world.did();
    let at = |what: &str| did.iter().position(|line| line == what).expect(what);
    assert!(at("switch") < at("drain web.1@1") && at("drain web.2@1") < did.len(), "{did:?}");
    assert!(did.contains(&"done".to_owned()) && !did.contains(&"term web.1@1".to_owned()), "{did:?}");
    assert!(world.states().contains(&"web.1@1 draining".to_owned()));

    // The next change need not wait for them.
    world.deploy(plan(3, &[("web", 1), ("worker", 1)]));
    world.all_ready();
    let id = world.core.instances().find(|(_, one)| one.release == 1).unwrap().0;
    world.did();
    world.send(CoreEvent::Drained { id });
    assert_eq!(world.did(), ["term web.1@1"]);
    world.pass(60);
    assert!(world.did().contains(&"term web.2@1".to_owned()), "patience has an end");
}

#[test]
fn what_scaling_takes_away_gets_no_requests_before_it_ends() {
    let mut world = World::boot(plan(1, &[("web", 3)]));
    world.requests_under_way = true;
    world.change(plan(1, &[("web", 1)]), ReplaceScope::Missing);
    assert_eq!(world.did(), ["switch", "done", "drain web.2@1", "drain web.3@1"]);
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(1, &[20000])));
}

#[test]
fn a_crash_changes_no_route_and_a_stop_ends_it_first() {
    let mut world = World::boot(plan(1, &[("web", 1)]));
    let told = world.routes.len();
    world.exit("web.1@1", 1);
    world.all_ready();
    assert_eq!(world.routes.len(), told, "the port is the same");
    let stop = world.core.handle_event(world.now, CoreEvent::Stop { job: JobId(1) });
    assert_eq!(stop[0], CoreAction::Route(None));
    assert!(matches!(stop[1], CoreAction::Terminate { .. }), "{stop:?}");
}

#[test]
fn the_next_supervisor_says_where_requests_go_and_drains_what_gets_none() {
    let mut world = World::new();
    world.requests_under_way = true;
    let found = vec![found(1, "web.1", 1, false), found(2, "web.1", 2, true)];
    let port = found[1].port.unwrap();
    world.send(CoreEvent::Boot { plan: Some(plan(2, &[("web", 1)])), found });
    assert_eq!(world.did(), ["drain web.1@1"]);
    assert_eq!(world.routes, [Some(route(2, &[port]))]);
}

#[test]
fn an_instance_gets_requests_when_it_has_been_ready() {
    let mut world = World::new();
    world.send(CoreEvent::Boot { plan: Some(plan(1, &[("web", 2)])), found: vec![] });
    assert_eq!(world.routes, [Some(route(1, &[]))]);
    world.ready("web.2@1");
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(1, &[20001])));
    world.ready("web.1@1");
    assert_eq!(world.routes.last().unwrap().as_ref(), Some(&route(1, &[20000, 20001])));
}
