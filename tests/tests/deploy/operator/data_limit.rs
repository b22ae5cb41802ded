//! `DATA_LIMIT`: the operator is told, and pushes are refused, when an app keeps too much.

use std::fs;

use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::operator::operate::says;
use crate::own_users;

/// Measures all data, as the daemon does: not soon after a measurement that took long.
fn measure(world: &World) {
    let record = || fs::read_to_string(world.root().join("run/data-usage.json")).unwrap_or_default();
    let before = record();
    wait_for("a measurement", || {
        let out = world.tool("piku-run").arg("data-usage").output().expect("piku-run");
        assert!(out.status.success(), "{}", text(&out));
        record() != before
    });
}

#[test]
fn data_above_its_limit_is_told_and_refuses_pushes() {
    let world = World::new();
    let told = world.path("home/told");
    world.set_settings(&format!("notify: {{command: \"cat >>'{}'\"}}", told.display()));
    let repo = world.repo("blog");
    repo.serves("one\n").file("ENV", "DATA_LIMIT=4m\n").commit("One").push().succeeds();
    let record = world.root().join("run/data-usage.json");
    assert!(record.exists(), "the daemon measures from now on");
    measure(&world);
    let shown = says(&world, "ps blog", 0);
    assert!(shown.contains("\nData: ") && shown.contains(" of 4.0 MiB, "), "{shown}");

    // Files outside are not counted, nor holes; a file with two names counts once.
    let fill = "cd /data && ln -s / all && truncate -s 1g holes && head -c 3900000 /dev/urandom >a && ln a b";
    says(&world, &format!("run blog sh -c '{fill}'"), 0);
    measure(&world);
    let problems = world.tool("piku-run").args(["data-usage", "--problems"]).output().expect("piku-run");
    let near = "blog: its data takes 3.7 MiB of 4.0 MiB, 9";
    assert!(problems.status.code() == Some(1) && text(&problems).contains(near), "{}", text(&problems));
    let notify = || {
        let _ = fs::remove_file(&told);
        let out = world.tool("piku-run").arg("notify").output().expect("piku-run");
        assert!(out.status.success(), "{}", text(&out));
        fs::read_to_string(&told).unwrap_or_default()
    };
    let said = notify();
    assert!(said.contains("\"data-limit\"") && said.contains(near), "{said}");
    let said = repo.serves("two\n").commit("Two").push().succeeds();
    assert!(said.contains("warning: its data takes 3.7 MiB of 4.0 MiB"), "{said}");

    // What cannot be read is told, and what can be read counts.
    says(&world, "run blog sh -c 'head -c 500000 /dev/urandom >/data/c; mkdir /data/d; chmod 0 /data/d'", 0);
    let refused = "the data of blog takes at least 4.2 MiB; its DATA_LIMIT is 4.0 MiB";
    repo.serves("three\n").commit("Three").push().fails_with(&[refused, "DATA_LIMIT=… --no-restart"]);
    assert!(says(&world, "status", 0).contains("pushes are refused from 100 % on"));
    assert!(notify().contains("pushes are refused"));
    // A higher limit, or less data, lets the same push through.
    says(&world, "config:set blog DATA_LIMIT=8m --no-restart", 0);
    repo.push().succeeds();
    says(&world, "config:unset blog DATA_LIMIT", 0);
    says(&world, "run blog sh -c 'rm /data/[abc]; rmdir /data/d'", 0);
    repo.serves("four\n").commit("Four").push().succeeds();
    measure(&world);
    let ended = notify();
    assert_eq!(ended.matches("\"ended\"").count(), 2, "{ended}");

    for bad in ["lots", "0", "10%"] {
        let said = says(&world, &format!("config:set blog DATA_LIMIT={bad}"), 1);
        assert!(said.contains(&format!("DATA_LIMIT: '{bad}' is not a size")), "{said}");
    }
    // Without a limit, nothing is measured.
    repo.serves("five\n").file("ENV", "").commit("Five").push().succeeds();
    measure(&world);
    assert!(!record.exists() && !says(&world, "ps blog", 0).contains("Data"));
}

#[test]
fn data_of_an_own_user_is_measured() {
    let Some(world) = own_users::world() else { return };
    world.repo("blog").serves("one\n").file("ENV", "DATA_LIMIT=4m\n").commit("One").push().succeeds();
    let fill = "umask 077; mkdir -p /data/mine && head -c 2000000 /dev/urandom >/data/mine/file";
    says(&world, &format!("run blog sh -c '{fill}'"), 0);
    measure(&world);
    let shown = says(&world, "ps blog", 0);
    assert!(shown.contains("\nData: 1.9 MiB of 4.0 MiB, 4"), "{shown}");
}
