//! A rollback of all machines that is killed: the daemon finishes it, or the next command.

use std::fs;

use nix::sys::signal::Signal;
use piku_tests::processes;
use piku_tests::scene::Scene;
use piku_tests::world::{World, wait_for};

use crate::held_machine::{hold, release};

/// Kills the rollback as it has come to this verb on this machine.
fn kill_at(scene: &Scene, at: usize, verb: &str) {
    kill_after(scene, at, verb, || {});
}

/// Does the same after something else has happened.
fn kill_after(scene: &Scene, at: usize, verb: &str, happens: impl FnOnce()) {
    let world = &scene.runners[at];
    hold(world, verb);
    let running = scene.lan.on(0, || scene.builder.start_ssh("laptop", "rollback blog"));
    wait_for("the rollback there", || world.path("home/reached").exists());
    happens();
    let relay = processes::find(&scene.builder.root(), "relay blog rollback");
    assert!(!relay.is_empty() && processes::kill_all(&relay));
    assert!(!running.wait_with_output().expect("ssh").status.success());
    assert!(record(scene).exists(), "killed at {verb} on {at}");
    release(world);
}

fn record(scene: &Scene) -> std::path::PathBuf {
    scene.builder.root().join("changes/blog.rollback.json")
}

fn verb(scene: &Scene, words: &str) -> String {
    let out = scene.lan.on(0, || scene.builder.ssh("laptop", words));
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{words}: {said}");
    said
}

/// Returns the setting `A` of the release that is live on each machine, and of the builder.
fn settings(scene: &Scene) -> Vec<String> {
    let live = |world: &World| {
        let text = fs::read_to_string(world.app("blog").join("current/config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        config["A"].as_str().unwrap_or_default().to_owned()
    };
    let own = verb(scene, "config:get blog A").trim().to_owned();
    scene.runners.iter().map(live).chain([own]).collect()
}

fn is_finished(scene: &Scene, value: &str) -> bool {
    !record(scene).exists() && settings(scene).iter().all(|setting| setting == value)
}

#[test]
fn a_killed_rollback_is_finished() {
    let Some(mut scene) = Scene::new() else { return };
    scene.deploy_to("here: false, patience: 1");
    let repo = scene.builder.repo("blog");
    repo.serves("one\n").commit("One");
    verb(&scene, "config:set blog A=old");
    scene.push(&repo).succeeds();
    // The daemon finishes it, wherever it was killed.
    for (at, what) in [(0, "config"), (0, "rollback"), (1, "rollback")] {
        verb(&scene, "config:set blog A=new");
        kill_at(&scene, at, what);
        wait_for("the end of the rollback", || is_finished(&scene, "old"));
    }
    let log = verb(&scene, "audit blog");
    assert!(log.matches("finished a rollback").count() == 3, "{log}");
    // Each has rolled back once.
    for world in &scene.runners {
        let out = world.tool("piku-run").args(["releases", "blog", "--format", "json"]).output();
        let rows: Vec<serde_json::Value> =
            serde_json::from_slice(&out.expect("releases").stdout).expect("rows");
        let origins: Vec<_> = rows.iter().filter_map(|row| row["origin"].as_str()).collect();
        assert!(origins.starts_with(&["rollback", "config", "rollback", "config"]), "{origins:?}");
    }

    // One machine is away until later.
    verb(&scene, "config:set blog A=new");
    kill_after(&scene, 0, "rollback", || scene.lan.cut(2));
    wait_for("the first machine", || settings(&scene) == ["old", "new", "old"]);
    scene.lan.restore(2);
    wait_for("the second machine", || is_finished(&scene, "old"));

    // The next command does it, if it comes before the daemon.
    scene.lan.on(0, || scene.builder.end_daemon(Signal::SIGTERM));
    verb(&scene, "config:set blog A=new");
    kill_at(&scene, 1, "rollback");
    let said = verb(&scene, "rollback blog");
    assert!(said.contains("Finishing the rollback of blog that was interrupted"), "{said}");
    assert!(is_finished(&scene, "old"), "{:?}", settings(&scene));
    verb(&scene, "config:set blog A=new");
    kill_at(&scene, 1, "rollback");
    verb(&scene, "config:set blog B=1");
    assert!(is_finished(&scene, "old"), "{:?}", settings(&scene));
    verb(&scene, "config:set blog A=new");
    kill_at(&scene, 0, "rollback");
    let said = scene.push(repo.serves("two\n").commit("Two")).succeeds();
    assert!(said.contains("Finishing the rollback of blog that was interrupted"), "{said}");
    assert!(is_finished(&scene, "old"), "{:?} {said}", settings(&scene));
    assert_eq!(scene.pages(), ["two\n", "two\n"]);
    scene.end();
}
