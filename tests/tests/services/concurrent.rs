//! Bindings of several apps at once.

use std::fs;

use piku_tests::snapshot::text;
use piku_tests::world::wait_for;

use crate::postgres::with_postgres;
use crate::says;

#[test]
fn apps_are_bound_while_another_one_is_deployed() {
    let world = with_postgres("");
    let go = world.app("slow").join("data/go");
    let shell = |script: &str| {
        let status = world.command("sh").args(["-c", script, "sh"]).arg(&go).status();
        assert!(status.expect("sh").success(), "{script}");
    };
    let state = || fs::read_to_string(world.root().join("services/postgres/state.json")).expect("the state");
    let repo = world.repo("slow");
    let waits = "web: n=0; until [ -e /data/go ] || [ $n -gt 2000 ]; do sleep 0.1; n=$((n + 1)); done; exec ./serve\n";
    repo.serves("slow\n").file("Procfile", waits).file("ENV", "HEALTHCHECK_START_PERIOD=300\n").commit("One");
    says(&world, "laptop", "create slow", 0);
    shell("mkdir -p \"${1%/go}\" && touch \"$1\"");
    repo.push().succeeds();
    shell("rm \"$1\"");

    let bind = world.start_ssh("laptop", "service:bind postgres slow");
    wait_for("the deploy of slow", || state().contains("DATABASE_URL\": \""));
    // It neither waits for that deploy nor undoes the binding, and the service stays.
    says(&world, "laptop", "service:bind postgres blog", 0);
    says(&world, "laptop", "service:destroy postgres --confirm postgres", 75);
    assert!(state().contains("\"creating\""), "{}", state());
    shell("touch \"$1\"");
    let out = bind.wait_with_output().expect("ssh");
    assert!(out.status.success(), "{}", text(&out));
    assert_eq!(state().matches("\"bound\"").count(), 2, "{}", state());
}
