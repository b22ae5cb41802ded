//! Rolling deploys on several machines behind a front, with something that breaks in the middle of one.
//! `PIKU_MACHINES` is their number, 3 by default; with it, the times of the deploys are of interest.

use std::io::Write;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::processes;
use piku_tests::repo::Push;
use piku_tests::scene::Scene;
use piku_tests::world::wait_for;

use super::front::{APP, Load, get, push, state};

fn page_of(scene: &Scene, at: usize) -> String {
    // Between two instances it may answer nobody.
    let page = scene.lan.on(at + 1, || scene.runners[at].try_page("blog")).unwrap_or_default();
    page.lines().next().unwrap_or_default().to_owned()
}

fn all_have(scene: &Scene, page: &str) -> bool {
    (0..scene.runners.len()).all(|at| state(scene, at) == "up" && page_of(scene, at) == page)
}

#[test]
fn a_loss_in_the_middle_of_a_rolling_deploy_fails_no_request() {
    let machines = std::env::var("PIKU_MACHINES").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let Some(mut scene) = Scene::with_targets(machines) else { return };
    scene.start_nginx();
    let front = format!("front: {{port: {}}}", Scene::HTTP_PORT);
    scene.deploy_to(&format!("here: false, patience: 60, skip_down: true, {front}"));
    let repo = scene.builder.repo("blog");
    repo.file("Procfile", "web: python app.py\n")
        .file("ENV", "NGINX_SERVER_NAME=blog.example.org\n")
        .file("app.py", APP);
    push(&scene, &repo, "one");
    wait_for("all machines", || all_have(&scene, "one"));
    let since = Instant::now();
    push(&scene, &repo, "two");
    let _ =
        writeln!(std::io::stderr(), "a push to {machines} machines took {} ms", since.elapsed().as_millis());
    wait_for("all machines", || all_have(&scene, "two"));

    if machines == 1 {
        scene.end();
        return;
    }

    // A machine that is lost while it deploys.
    let lost = 1;
    let load = Load::start(&scene.lan);
    repo.file("page", "three").commit("Three");
    let running = scene.lan.on(0, || repo.start_push());
    wait_for("the deploy there", || state(&scene, lost) == "draining");
    scene.lan.cut(lost + 1);
    let said = Push::from(running.wait_with_output().expect("git push")).succeeds();
    assert!(
        said.contains(&format!("{}: ", scene.name(lost)))
            && said.contains("it gets the release when it is back"),
        "{said}"
    );
    for at in (0..machines).filter(|at| *at != lost) {
        assert!(said.contains(&format!("{}: release 3 is live", scene.name(at))), "{said}");
    }
    let front = || scene.lan.on(0, || get("127.0.0.1", "blog.example.org", "")).expect("a page");
    for _ in 0..20 {
        assert!(front().starts_with("three\n"));
    }
    scene.lan.restore(lost + 1);
    wait_for("the machine to catch up", || all_have(&scene, "three"));
    load.end("loss of a machine that deploys");

    // The push is killed while a machine deploys: the others get the release from the daemon.
    let load = Load::start(&scene.lan);
    repo.file("page", "four").commit("Four");
    let running = scene.lan.on(0, || repo.start_push());
    wait_for("the deploy there", || state(&scene, lost) == "draining");
    let distribute = processes::find(&scene.builder.root(), "piku-receive distribute");
    assert!(!distribute.is_empty());
    for pid in distribute {
        // It may have ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    Push::from(running.wait_with_output().expect("git push")).fails_with(&[]);
    wait_for("the others to catch up", || all_have(&scene, "four"));
    load.end("a push that is killed");
    a_killed_change_reaches_all(&scene);
    a_change_that_is_killed_here_reaches_all(&scene);
    let said = push(&scene, &repo, "five");
    assert!(said.contains(&format!("{}: release ", scene.name(machines - 1))), "{said}");
    wait_for("all machines", || all_have(&scene, "five"));
    scene.end();
}

/// A change is killed before it has come to all machines: the others get it from the daemon.
fn a_killed_change_reaches_all(scene: &Scene) {
    let load = Load::start(&scene.lan);
    let running = scene.lan.on(0, || scene.builder.start_ssh("laptop", "config:set blog LATE=1"));
    wait_for("the change there", || state(scene, 0) == "draining");
    let relay = processes::find(&scene.builder.root(), "relay blog config:set");
    assert!(!relay.is_empty());
    for pid in relay {
        // It may have ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    assert!(!running.wait_with_output().expect("ssh").status.success());
    wait_for("the setting on all machines", || is_set_on_all(scene, "LATE"));
    load.end("a change that is killed");
}

fn is_set_on_all(scene: &Scene, name: &str) -> bool {
    (0..scene.runners.len()).all(|at| {
        let out =
            scene.lan.on(at + 1, || scene.runners[at].ssh("laptop", &format!("config:get blog {name}")));
        out.stdout == b"1\n"
    })
}

/// A change is killed before and after the settings of this machine have changed, when no machine has been asked: what
/// has changed here reaches all, and what has not leaves nothing behind.
fn a_change_that_is_killed_here_reaches_all(scene: &Scene) {
    let script = scene.builder.path("lib/piku");
    let text = std::fs::read_to_string(&script).expect("the script");
    let (first, rest) = text.split_once('\n').expect("lines");
    let change = |name: &str, ends: &str| {
        // The parent of the own command is the relay.
        let killing =
            format!("{first}\n[ \"${{PIKU_HERE:-}} $1\" != '1 config:set' ] || {{ {ends}; }}\n{rest}");
        std::fs::write(&script, killing).expect("the script");
        let words = format!("config:set blog {name}=1");
        let out = scene.lan.on(0, || scene.builder.ssh("laptop", &words));
        std::fs::write(&script, &text).expect("the script");
        assert!(!out.status.success(), "{name}: {out:?}");
    };
    let begun = scene.builder.root().join("changes/blog.json");
    change("NEVER", "kill -KILL $PPID; exit");
    assert!(begun.exists());
    wait_for("the daemon to see that nothing has changed", || !begun.exists());
    change("HERE", "PIKU_HERE=2 \"$0\" \"$@\"; kill -KILL $PPID; exit");
    assert!(begun.exists());
    wait_for("the setting on all machines", || is_set_on_all(scene, "HERE"));
    assert!(!begun.exists() && !is_set_on_all(scene, "NEVER"));
    // The own command outlives the relay, and the next change waits for it.
    change("OUTLIVES", "kill -KILL $PPID; sleep 1");
    let out = scene.lan.on(0, || scene.builder.ssh("laptop", "config:set blog NEXT=1"));
    assert!(out.status.success() && is_set_on_all(scene, "NEXT"), "{out:?}");
    wait_for("the setting on all machines", || is_set_on_all(scene, "OUTLIVES"));
}
