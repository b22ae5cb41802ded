//! A verb about all machines that is killed: the daemon finishes it, or the next change, unless that one contradicts it.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use piku_tests::processes;
use piku_tests::repo::Repo;
use piku_tests::scene::Scene;
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for, wait_long};

use crate::held_machine::{hold, release};

/// A scene in which both machines serve the app.
fn live() -> Option<(Scene, Repo)> {
    let scene = Scene::new()?;
    scene.deploy_to("here: false, patience: 1");
    let repo = scene.builder.repo("blog");
    repo.serves("one\n").commit("One");
    scene.push(&repo).succeeds();
    Some((scene, repo))
}

/// Kills a verb with its connections, as a power cut does, after the first machine has got it, and before the second one
/// has, whose link is down until then.
fn kill_with_one_away(scene: &Scene, words: &str) {
    let verb = words.split(' ').next().expect("a verb");
    hold(&scene.runners[0], verb);
    scene.lan.cut(2);
    let running = scene.lan.on(0, || scene.builder.start_ssh("laptop", words));
    wait_for("the verb there", || scene.runners[0].path("home/reached").exists());
    let relays = processes::find(&scene.builder.root(), &format!("relay blog {verb}"));
    let all: Vec<i32> = relays.into_iter().flat_map(processes::family).collect();
    assert!(processes::kill_all(&all));
    assert!(!running.wait_with_output().expect("ssh").status.success());
    let before = done(&scene.runners[0], verb);
    release(&scene.runners[0]);
    wait_for("the first machine", || done(&scene.runners[0], verb) > before);
}

/// Returns how often a machine has executed a verb.
fn done(world: &World, verb: &str) -> usize {
    let log = fs::read_to_string(world.root().join("audit.log")).unwrap_or_default();
    log.matches(&format!(" {verb} blog exit 0\n")).count()
}

fn record(scene: &Scene) -> std::path::PathBuf {
    scene.builder.root().join("changes/blog.verb.json")
}

fn says(scene: &Scene, words: &str) -> String {
    let out = scene.lan.on(0, || scene.builder.ssh("laptop", words));
    let said = text(&out);
    assert!(out.status.success(), "{words}: {said}");
    said
}

/// Does what the daemon does every ten seconds.
fn catch_up(scene: &Scene) {
    let out = scene.lan.on(0, || scene.builder.command("piku-receive").args(["catch-up", "blog"]).output());
    let out = out.expect("piku-receive");
    assert!([Some(0), Some(75)].contains(&out.status.code()), "{}", text(&out));
}

fn is_stopped(scene: &Scene) -> Vec<bool> {
    scene.runners.iter().map(|world| world.app("blog").join("stopped").exists()).collect()
}

#[test]
fn a_killed_verb_is_finished() {
    let Some((scene, _)) = live() else { return };
    let mut missing = Vec::new();
    for words in [
        "stop blog",
        "start blog",
        "ps:scale blog web=2",
        "restart blog",
        "maintenance:on blog",
        "destroy blog --confirm blog",
        "restore blog --kept",
    ] {
        let verb = words.split(' ').next().expect("a verb");
        let before = done(&scene.runners[1], verb);
        kill_with_one_away(&scene, words);
        if verb == "stop" {
            // The daemon waits for the machine.
            let apps = says(&scene, "apps");
            scene.lan.restore(2);
            wait_long("the daemon", || !record(&scene).exists());
            missing.extend((!apps.contains("stop unfinished")).then_some("apps"));
        } else {
            catch_up(&scene);
            scene.lan.restore(2);
            wait_long("the end", || {
                catch_up(&scene);
                !record(&scene).exists()
            });
        }
        missing.extend((done(&scene.runners[1], verb) == before).then_some(verb));
    }
    assert!(missing.is_empty(), "not finished: {missing:?}");
    assert!(says(&scene, "audit blog").contains("finished 'stop'"));
    // It is deployed again.
    let page = |at: usize| scene.lan.on(at + 1, || scene.runners[at].try_page("blog"));
    let pages = || [page(0), page(1)].map(Option::unwrap_or_default);
    wait_for(&format!("the pages after {}", says(&scene, "audit blog")), || pages() == ["one\n", "one\n"]);
    scene.end();
}

/// A client that is gone, and its session, leave the verb to itself.
#[test]
fn a_lost_client_stops_no_verb() {
    let Some((mut scene, _)) = live() else { return };
    scene.lan.on(0, || scene.builder.end_daemon(Signal::SIGTERM));
    for loses_session in [false, true] {
        let before = done(&scene.runners[1], "restart");
        hold(&scene.runners[0], "restart");
        let mut running = scene.lan.on(0, || scene.builder.start_ssh("laptop", "restart blog"));
        wait_for("the verb there", || scene.runners[0].path("home/reached").exists());
        if loses_session {
            let is_sshd = |pid: &i32| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("sshd"))
            };
            let mut sessions = processes::family(scene.builder.sshd_pid());
            sessions.retain(|pid| *pid != scene.builder.sshd_pid() && is_sshd(pid));
            assert!(processes::kill_all(&sessions));
        } else {
            running.kill().expect("it runs");
        }
        let _ = running.wait();
        release(&scene.runners[0]);
        wait_for("the second machine", || done(&scene.runners[1], "restart") > before);
        wait_for("its end", || !record(&scene).exists());
    }
    scene.end();
}

#[test]
fn a_later_change_is_not_undone() {
    let Some((mut scene, repo)) = live() else { return };
    scene.lan.on(0, || scene.builder.end_daemon(Signal::SIGTERM));
    // The opposite, on all machines.
    kill_with_one_away(&scene, "stop blog");
    scene.lan.restore(2);
    assert!(record(&scene).exists());
    says(&scene, "start blog");
    assert!(!record(&scene).exists() && is_stopped(&scene) == [false, false]);
    assert_eq!(done(&scene.runners[1], "stop"), 0);

    // Something else comes after it.
    kill_with_one_away(&scene, "stop blog");
    scene.lan.restore(2);
    let said = says(&scene, "ps:scale blog web=1");
    assert!(said.contains("Finishing 'stop blog' that was interrupted"), "{said}");
    assert!(!record(&scene).exists() && is_stopped(&scene) == [true, true]);
    says(&scene, "start blog");

    // The opposite, on the machine itself.
    kill_with_one_away(&scene, "stop blog");
    // Its time there has seconds.
    thread::sleep(Duration::from_secs(4));
    scene.config(1, "start blog");
    scene.lan.restore(2);
    catch_up(&scene);
    assert!(!record(&scene).exists() && is_stopped(&scene) == [true, false]);
    says(&scene, "start blog");

    // Nobody waits for a machine for ever.
    kill_with_one_away(&scene, "stop blog");
    catch_up(&scene);
    let text = fs::read_to_string(record(&scene)).expect("it waits");
    let mut waiting: serde_json::Value = serde_json::from_str(&text).expect("a record");
    assert_eq!(waiting["machines"].as_array().map(Vec::len), Some(1), "{waiting}");
    waiting["at"] = "2026-01-01T00:00:00Z".into();
    fs::write(record(&scene), waiting.to_string()).expect("the record");
    catch_up(&scene);
    assert!(!record(&scene).exists());
    let log = says(&scene, "audit blog");
    assert!(log.contains("in a day, and is given up"), "{log}");
    scene.lan.restore(2);
    says(&scene, "start blog");

    // What is damaged keeps nobody from anything.
    fs::write(record(&scene), "{").expect("a record");
    let said = says(&scene, "ps:scale blog web=1");
    assert!(said.contains("is forgotten") && !record(&scene).exists(), "{said}");

    // A push after a destroy wants the app.
    kill_with_one_away(&scene, "destroy blog --confirm blog");
    scene.lan.restore(2);
    let push = scene.push(repo.serves("two\n").commit("Two"));
    push.fails_with(&[
        "'destroy blog' was interrupted, and is given up",
        "blog was destroyed, and what it had is kept",
    ]);
    catch_up(&scene);
    assert_eq!(done(&scene.runners[1], "destroy"), 0);
    assert_eq!(scene.lan.on(2, || scene.runners[1].page("blog")), "two\n");
    scene.end();
}
