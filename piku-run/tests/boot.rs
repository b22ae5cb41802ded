//! After a boot, apps start by themselves, at most one per processor at a time; a bad app does not stop the
//! others. Then all wait.

mod support;

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use support::{Server, until};

#[test]
fn apps_come_back_a_few_at_a_time() {
    let at_once = thread::available_parallelism().unwrap().get();
    let mut server = Server::new();
    let apps: Vec<String> = (0..3 * at_once.min(4)).map(|number| format!("app-{number}")).collect();
    thread::scope(|scope| {
        for app in &apps {
            let server = &server;
            scope.spawn(move || {
                let dir = server.release_of(app, "", &[("worker", "exec sleep 1000")]);
                server.good(&["deploy", app, dir.to_str().unwrap()]);
            });
        }
    });
    server.good(&["stop", "--all"]);
    server.end_daemon(Signal::SIGTERM);
    // One app cannot be started.
    fs::write(server.root().join("apps/app-0/current/release.yaml"), "[").unwrap();
    server.start_daemon();

    let (mut most, mut seen) = (0, 0);
    until("all others run", || {
        let read = || apps[1..].iter().map(|app| record(&server, app)).collect::<Vec<_>>();
        let (first, second) = (read(), read());
        // Those that were starting at one time: between both readings.
        let is_starting = |(first, second): &(_, &Option<Value>)| {
            first == second && second.as_ref().is_some_and(is_unready)
        };
        let starting = first.iter().zip(&second).filter(is_starting).count();
        seen += usize::from(starting > 0);
        most = most.max(starting);
        second.iter().all(|record| record.as_ref().is_some_and(|record| !is_unready(record)))
    });
    assert!(seen > 0 && most <= at_once, "{most} started at once, seen {seen} times");
}

#[test]
fn an_idle_app_wakes_no_process() {
    let server = Server::new();
    server.deploy("", &[("worker", "exec sleep 1000")]);
    let processes = [server.daemon(), server.supervisor("blog")];
    // Longer than the pauses of whatever would poll.
    let is_quiet = || {
        let before = processes.map(wake_ups);
        thread::sleep(Duration::from_secs(6));
        processes.map(wake_ups) == before
    };
    assert!((0..10).any(|_| is_quiet()), "one of {processes:?} wakes up in each of ten pauses");
}

/// Returns how often a process has begun to wait.
fn wake_ups(pid: Pid) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    status
        .lines()
        .find(|line| line.starts_with("voluntary_ctxt_switches"))
        .expect("the kernel counts")
        .to_owned()
}

fn is_unready(record: &Value) -> bool {
    record["ready"] == false
}

/// Reads the record of the app's only instance. `ps` would start an app that waits for its turn.
fn record(server: &Server, app: &str) -> Option<Value> {
    let files = fs::read_dir(server.root().join("run").join(app).join("workers")).ok()?.flatten();
    let record =
        files.map(|file| file.path()).find(|path| path.extension().is_some_and(|end| end == "json"))?;
    serde_json::from_slice(&fs::read(record).ok()?).ok()
}
