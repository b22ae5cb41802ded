//! kill -9 of whatever, whenever: the old release serves, nothing is started twice, nothing half made is taken for whole,
//! and the next push is clean.

use nix::sys::signal::Signal;
use piku_tests::http;
use piku_tests::processes::{self, kill_all};
use piku_tests::repo::{GATED_RELEASE, Repo};
use piku_tests::world::{World, wait_for};

/// A world with a good release of `blog` live, and the laptop's work tree.
fn live() -> (World, Repo) {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("good\n").commit("Good").push().succeeds();
    (world, repo)
}

fn pid(world: &World) -> u64 {
    world.ps("blog")[0]["pid"].as_u64().expect("a pid")
}

/// The processes that answer for the app: the Python program itself, once an instance.
fn workers(world: &World) -> usize {
    // Inside the jail nothing names the world's folder; the parent of the parent, the jail's monitor, does.
    processes::find(&world.path(""), "piku-chroot").len()
}

#[test]
fn restarted_daemon_finds_workers() {
    let (mut world, repo) = live();
    let (port, worker, monitors) = (world.port("blog"), pid(&world), workers(&world));
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        world.end_daemon(signal);
        assert_eq!(http::get(port, "/").expect("the worker serves on").1, "good\n");
        world.start_daemon();
        assert_eq!(pid(&world), worker, "the same worker");
        assert_eq!(workers(&world), monitors, "and only it");
    }
    repo.file("page", "better\n").commit("Better").push().succeeds();
    assert_eq!(world.page("blog"), "better\n");
    assert!(http::get(port, "/").is_err(), "the old one is gone");
}

#[test]
fn killed_supervisor_is_replaced() {
    let (world, repo) = live();
    let worker = pid(&world);
    let uptime = |world: &World| world.ps("blog")[0]["uptime_s"].as_u64().expect("seconds");
    wait_for("a worker of some age", || uptime(&world) >= 3);
    for _ in 0..3 {
        let supervisors = processes::find(&world.path(""), " supervise ");
        assert_eq!(supervisors.len(), 1, "one supervisor an app");
        kill_all(&supervisors);
        wait_for("the next supervisor", || {
            let next = processes::find(&world.path(""), " supervise ");
            next.len() == 1 && next != supervisors && answers(&world)
        });
        assert_eq!(pid(&world), worker);
        assert!(uptime(&world) >= 3, "it is older than who looks after it");
    }
    repo.file("page", "better\n").commit("Better").push().succeeds();
    assert_eq!(world.page("blog"), "better\n");
}

fn answers(world: &World) -> bool {
    let out = world.tool("piku-run").args(["ps", "blog"]).output().expect("piku-run runs");
    out.status.success()
}

#[test]
fn killed_worker_is_restarted() {
    let (world, _repo) = live();
    let worker = pid(&world);
    kill_all(&[i32::try_from(worker).expect("a pid")]);
    wait_for("another worker that answers", || {
        pid_now(&world).is_some_and(|pid| pid != worker)
            && http::get(world.port("blog"), "/").is_ok_and(|page| page.1 == "good\n")
    });
    assert_eq!(world.ps("blog")[0]["restarts"], 1);
}

fn pid_now(world: &World) -> Option<u64> {
    world.ps("blog")[0]["pid"].as_u64()
}

#[test]
fn app_returns_after_power_cut() {
    let (mut world, repo) = live();
    kill_all(&processes::find(&world.root(), "piku-chroot"));
    kill_all(&processes::find(&world.root(), "supervise"));
    world.end_daemon(Signal::SIGKILL);
    world.start_daemon();
    wait_for("the page", || answers(&world) && http::get(world.port("blog"), "/").is_ok());
    assert_eq!(world.page("blog"), "good\n");
    repo.file("page", "better\n").commit("Better").push().succeeds();
    assert_eq!(world.page("blog"), "better\n");
}

#[test]
fn deploy_killed_in_build_leaves_nothing() {
    killed_in("preflight: sleep 1000\n", |world| kill_all(&processes::find(&world.root(), "piku-build")));
}

#[test]
fn hook_killed_in_build_leaves_nothing() {
    killed_in("preflight: sleep 1000\n", |world| {
        let hooks = processes::find(&world.root(), "lib/post-receive");
        let builds = processes::find(&world.root(), "piku-build build");
        !builds.is_empty() && kill_all(&hooks) && kill_all(&builds)
    });
}

#[test]
fn supervisor_killed_in_release_task_leaves_nothing() {
    killed_in("release: sleep 1000\n", |world| {
        let task = processes::find(&world.root(), "sleep 1000");
        !task.is_empty() && kill_all(&processes::find(&world.root(), " supervise "))
    });
}

#[test]
fn supervisor_killed_in_health_check_leaves_nothing() {
    killed_in("web: sleep 1000\n", |world| {
        let candidate = processes::find(&world.root(), "sleep 1000");
        !candidate.is_empty() && kill_all(&processes::find(&world.root(), " supervise "))
    });
}

/// Pushes a release that hangs in a stage, kills when `kill` finds what to kill, and holds that the push fails and that
/// the next one is clean.
fn killed_in(stage: &str, kill: impl Fn(&World) -> bool) {
    let (world, repo) = live();
    let procfile = if stage.starts_with("web") { stage.to_owned() } else { format!("web: ./serve\n{stage}") };
    repo.file("Procfile", procfile).file("page", "bad\n").commit("Bad");
    let push = repo.start_push();
    wait_for("the stage to kill", || kill(&world));
    let out = push.wait_with_output().expect("git push");
    assert!(!out.status.success(), "{out:?}");

    wait_for("the supervisor", || answers(&world));
    assert_eq!(world.page("blog"), "good\n");
    repo.serves("better\n").commit("Better").push().succeeds();
    assert_eq!(world.page("blog"), "better\n");
    assert_eq!(world.ps("blog").len(), 1, "{:#?}", world.ps("blog"));
    wait_for("the end of what hung", || processes::find(&world.root(), "sleep 1000").is_empty());
    let left: Vec<String> = std::fs::read_dir(world.app("blog"))
        .expect("the app's folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("deploy."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn deploy_survives_lost_client() {
    let (world, repo) = live();
    gate(&repo).file("page", "better\n").commit("Better");
    let mut push = repo.start_push();
    wait_for_task(&world);
    kill_all(&processes::find(&world.path("laptop"), "ssh"));
    push.kill().expect("kill git");
    push.wait().expect("wait for git");
    world.open_gate("blog");
    wait_for("the new release", || http::get(world.port("blog"), "/").is_ok_and(|page| page.1 == "better\n"));
    repo.file("page", "best\n").commit("Best").push().succeeds();
    assert_eq!(world.page("blog"), "best\n");
}

#[test]
fn destroy_during_push_is_refused() {
    let (world, repo) = live();
    let push = gate(&repo).file("page", "better\n").commit("Better").start_push();
    wait_for_task(&world);
    let out = world.ssh("laptop", "destroy blog --confirm blog");
    assert_eq!(out.status.code(), Some(75), "{out:?}");
    world.open_gate("blog");
    assert!(push.wait_with_output().expect("git push").status.success());
    assert_eq!(world.page("blog"), "better\n");
}

#[test]
fn concurrent_pushes_deploy_in_turn() {
    let (world, repo) = live();
    world.add_key("second", &[]);
    gate(&repo).file("page", "first\n").commit("First");
    let second = world.repo_with_key("blog", "second");
    second.git(&["pull", "-q", repo.path().to_str().expect("text"), "main"]);
    let first = repo.start_push();
    wait_for_task(&world);

    let mut waiting = second.file("page", "second\n").commit("Second").run_push();
    waiting.until_said("Waiting for laptop, ");
    world.open_gate("blog");
    waiting.finish().succeeds();
    assert!(first.wait_with_output().expect("git push").status.success());
    assert_eq!(world.page("blog"), "second\n");
    assert_eq!(world.releases("blog"), ["1", "2", "3"]);
}

/// Has the next release wait in its release task.
fn gate(repo: &Repo) -> &Repo {
    repo.file("Procfile", format!("web: ./serve\n{GATED_RELEASE}\n"))
}

fn wait_for_task(world: &World) {
    wait_for("the release task", || !processes::find(&world.root(), "/data/gate").is_empty());
}
