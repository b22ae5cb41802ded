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

/// Returns what has made the releases of a machine, the newest first.
fn origins(world: &World) -> Vec<String> {
    let out = world.tool("piku-run").args(["releases", "blog", "--format", "json"]).output();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&out.expect("releases").stdout).expect("rows");
    rows.iter().filter_map(|row| row["origin"].as_str().map(str::to_owned)).collect()
}

fn is_finished(scene: &Scene, value: &str) -> bool {
    !record(scene).exists() && settings(scene).iter().all(|setting| setting == value)
}

/// Does what the daemon does every ten seconds.
fn catch_up(scene: &Scene) {
    let out = scene.lan.on(0, || scene.builder.command("piku-receive").args(["catch-up", "blog"]).output());
    let code = out.as_ref().ok().and_then(|out| out.status.code());
    assert!([Some(0), Some(75)].contains(&code), "{out:?}");
}

/// Lets a rollback wait for a machine that is away for more than a day.
fn waits_for_a_day(scene: &Scene) {
    verb(scene, "config:set blog A=new");
    kill_after(scene, 0, "rollback", || scene.lan.cut(2));
    wait_for("the first machine", || {
        catch_up(scene);
        settings(scene) == ["old", "new", "old"]
    });
    catch_up(scene);
    let text = fs::read_to_string(record(scene)).expect("it waits");
    let mut waiting: serde_json::Value = serde_json::from_str(&text).expect("a record");
    assert_eq!(waiting["turns"].as_array().map(Vec::len), Some(1), "{waiting}");
    waiting["at"] = "2026-01-01T00:00:00Z".into();
    fs::write(record(scene), waiting.to_string()).expect("the record");
    wait_for("the end of the wait", || {
        catch_up(scene);
        !record(scene).exists()
    });
    let log = verb(scene, "audit blog");
    assert!(log.contains("error: 'rollback' has not reached") && log.contains("given up"), "{log}");
    scene.lan.restore(2);
    // What is damaged keeps nobody from anything.
    fs::write(record(scene), "{").expect("a record");
    let said = verb(scene, "config:set blog A=old");
    assert!(said.contains("a rollback of blog was interrupted, and is forgotten"), "{said}");
    assert!(is_finished(scene, "old"), "{:?}", settings(scene));
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
        let origins = origins(world);
        assert!(
            origins.starts_with(&["rollback", "config", "rollback", "config"].map(str::to_owned)),
            "{origins:?}"
        );
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
    waits_for_a_day(&scene);
    scene.end();
}
