//! Changes by several sessions at once: each waits for the one before it, and all count.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::processes;
use piku_tests::world::{World, wait_for};

use crate::operator::operate::says;

/// An app whose instances start only while this file is there.
const GATED: &str = "web: sh -c 'until [ -e /data/gate ]; do sleep 0.05; done; exec ./serve'\n";

fn gate(world: &World) -> PathBuf {
    world.app("blog").join("data/gate")
}

/// Returns what the process has printed on stderr, after it has succeeded.
#[track_caller]
fn succeeds(child: Child) -> String {
    let out = child.wait_with_output().expect("the process ends");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{:?}: {said}", out.status);
    said
}

/// Returns the names of the settings of the live release, after a comparison with the stored ones.
fn live_settings(world: &World) -> Vec<String> {
    let read = |name: &str| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_slice(&fs::read(world.app("blog").join(name)).expect(name)).expect("an object")
    };
    let live = read("current/config.json");
    assert_eq!(live, read("config.json"));
    let mut names: Vec<String> = live.into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

#[test]
fn settings_changed_during_a_push_count_and_do_not_fail_it() {
    let world = World::new();
    let repo = world.repo("blog");
    // The first release is being started when the settings are stored.
    let push = repo.serves("one\n").file("Procfile", GATED).commit("One").start_push();
    wait_for("the first release", || world.releases("blog") == ["1"]);
    let set = ["A=1", "B=1"].map(|pair| world.start_ssh("laptop", &format!("config:set blog {pair}")));
    let stored = || fs::read_to_string(world.app("blog").join("config.json")).unwrap_or_default();
    wait_for("both settings", || stored().contains("\"A\"") && stored().contains("\"B\""));
    fs::write(gate(&world), "").expect("the gate");
    succeeds(push);
    for set in set {
        let said = succeeds(set);
        assert!(said.contains("Waiting for the release of blog that is being started"), "{said}");
    }
    assert_eq!(live_settings(&world), ["A", "B"]);

    // The next push builds, until its step is killed.
    let sleeper = format!("sleep {}", 300_000 + std::process::id());
    let building = || {
        let mut found = processes::find(Path::new(&sleeper), &sleeper);
        // Not the jail and the shell around it.
        found.retain(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
        });
        found
    };
    // The step goes on when the test kills its command: the build ends well.
    repo.file("Procfile", format!("preflight: {sleeper} || true\n{GATED}")).file("page", "two\n");
    let push = repo.commit("Two").start_push();
    wait_for("the build", || !building().is_empty());
    says(&world, "config:set blog C=1", 0);
    assert_eq!((live_settings(&world).concat(), world.page("blog")), ("ABC".to_owned(), "one\n".to_owned()));
    // A release with another setting is being started when the build ends.
    fs::remove_file(gate(&world)).expect("the gate");
    let set = world.start_ssh("laptop", "config:set blog D=1");
    wait_for("the instance of the setting", || world.ps("blog").iter().any(|row| row["state"] == "starting"));
    for pid in building() {
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("kill the step");
    }
    let log = || {
        let names = fs::read_dir(world.app("blog").join("log")).expect("logs").flatten();
        let deploys = names.filter(|name| name.file_name().to_string_lossy().starts_with("deploy-"));
        deploys.map(|name| fs::read_to_string(name.path()).unwrap_or_default()).collect::<String>()
    };
    let waits = "Waiting for the change of blog that is in progress";
    wait_for("the push to wait", || log().contains(waits));
    fs::write(gate(&world), "").expect("the gate");
    succeeds(set);
    succeeds(push);
    assert_eq!((live_settings(&world).concat(), world.page("blog")), ("ABCD".to_owned(), "two\n".to_owned()));
}

#[test]
fn changes_at_once_all_count() {
    let world = World::new();
    world.repo("blog").serves("one\n").commit("One").push().succeeds();
    let verbs = [
        "config:set blog A=1",
        "config:set blog B=1",
        "domains:add blog a.example",
        "domains:add blog b.example",
        "ps:scale blog web=2",
        "restart blog",
        "rollback blog 1",
    ];
    let sessions = verbs.map(|verb| world.start_ssh("laptop", verb));
    let said = sessions.map(succeeds).concat();
    assert_eq!(world.ps("blog").iter().filter(|row| row["state"] == "healthy").count(), 2, "{said}");
    // Once more without the rollback, which brings the settings of its release back.
    let sessions = [&verbs[..4], &["restart blog web"]].concat().into_iter();
    let said: String = sessions
        .map(|verb| world.start_ssh("laptop", verb))
        .collect::<Vec<_>>()
        .into_iter()
        .map(succeeds)
        .collect();
    assert_eq!(live_settings(&world), ["A", "B", "NGINX_SERVER_NAME"], "{said}");
    let names = says(&world, "config:get blog NGINX_SERVER_NAME", 0);
    let mut names: Vec<&str> = names.split_whitespace().collect();
    names.sort_unstable();
    assert_eq!(names, ["a.example", "b.example"], "{said}");
}
