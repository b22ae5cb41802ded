//! Supervision with real processes: crashes, restarts, killed supervisors and daemons, stops.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stop;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use support::{SERVE, Server, get, is_alive, until};

#[test]
fn a_crashed_instance_restarts_on_its_port() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let (port, old) = (server.port(), server.pid("web.1"));
    kill(old, Signal::SIGKILL).unwrap();
    until("it is back", || server.row("web.1")["restarts"] == 1 && server.states() == ["web.1 healthy"]);
    assert_eq!((server.port(), server.page().as_str()), (port, "one"));
    assert_eq!(server.row("web.1")["last_exit"], "signal 9");
    assert!(server.log("web.1").contains("web.1 was ended by SIGKILL"));
}

#[test]
fn a_crash_loop_is_shown_and_leaves_other_instances_alone() {
    let server = Server::new();
    // The worker runs during the deploy and crashes afterwards.
    let worker = "test -e $DATA_DIR/bad && exit 3; touch $DATA_DIR/bad; exec sleep 1000";
    server.config(&[("WORKER_NOFILE_LIMIT", "64")]);
    server.deploy("one", &[("web", SERVE), ("worker", worker)]);
    kill(server.pid("worker.1"), Signal::SIGTERM).unwrap();
    until("it backs off", || server.states() == ["web.1 healthy", "worker.1 backoff"]);
    until("it is called a loop", || server.states() == ["web.1 healthy", "worker.1 crash-looping"]);
    let row = server.row("worker.1");
    assert_eq!((&row["last_exit"], &row["limits"][0]["value"]), (&"exit 3".into(), &"64".into()), "{row}");
    assert_eq!(server.page(), "one");
}

/// Number of lines that [`COUNT`] writes, few enough for the log to keep them all.
const LINES: u32 = 700_000;

const COUNT: &str = "seq 1 700000; exec sleep 1000";

#[test]
fn killing_supervisor_and_daemon_loses_no_instance_and_no_line() {
    let mut server = Server::new();
    // It starts to count only after the deploy.
    let count = format!("while ! test -e $DATA_DIR/go; do sleep 0.01; done; {COUNT}");
    server.deploy("one", &[("web", SERVE), ("worker", &count)]);
    let workers = (server.pid("web.1"), server.pid("worker.1"));
    let port = server.port();
    fs::write(server.app("data/go"), "").unwrap();
    let path = server.app("log/worker.1.log");
    let length = || fs::metadata(&path).map_or(0, |about| about.len());
    let end = format!(" worker.1: {LINES}\n");
    let is_done = || fs::read(&path).unwrap_or_default().ends_with(end.as_bytes());
    server.replace_supervisor("blog");
    // Killed while it writes. The daemon is killed first: it would delay the restarts more and more.
    let mut kills = 1;
    while !is_done() {
        let before = length();
        until("the log grows", || length() != before || is_done());
        server.end_daemon(Signal::SIGKILL);
        let _ = kill(server.supervisor("blog"), Signal::SIGKILL);
        assert_eq!(get(port).unwrap(), "one", "it serves without a supervisor");
        server.start_daemon();
        kills += 1;
    }
    until("they are taken up", || server.states() == ["web.1 healthy", "worker.1 running"]);
    assert_eq!((server.pid("web.1"), server.pid("worker.1")), workers);
    let files = [".5", ".4", ".3", ".2", ".1", ""];
    let log: String = files
        .iter()
        .map(|part| fs::read_to_string(server.app(&format!("log/worker.1.log{part}"))).unwrap_or_default())
        .collect();
    let mut expected = 1;
    for line in log.lines().filter_map(|line| line.split_once(" worker.1: ")) {
        assert_eq!(line.1, expected.to_string(), "after {kills} kills");
        expected += 1;
    }
    assert_eq!(expected, LINES + 1, "after {kills} kills");
    // An adopted instance is supervised as before.
    kill(workers.0, Signal::SIGKILL).unwrap();
    until("it is back", || server.row("web.1")["restarts"] == 1 && server.states()[0] == "web.1 healthy");
    assert_eq!(server.port(), port);
}

#[test]
fn a_flood_of_output_delays_no_other_instance() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE), ("flood", "exec yes"), ("quiet", "echo hello; exec sleep 1000")]);
    let (flood, web) = (server.pid("flood.1"), server.pid("web.1"));
    until("it is a flood", || server.app("log/flood.1.log.1").exists());
    kill(web, Signal::SIGKILL).unwrap();
    until("the other one is back", || {
        server.row("web.1")["restarts"] == 1 && server.row("web.1")["state"] == "healthy"
    });
    assert_eq!(server.page(), "one");
    assert!(server.log("quiet.1").ends_with(" quiet.1: hello\n"));
    assert_eq!(server.pid("flood.1"), flood);
    server.good(&["stop", "blog"]);
    assert!(!is_alive(flood));
}

#[test]
fn a_site_of_files_alone_has_no_supervisor() {
    let server = Server::new();
    server.deploy("one", &[("static", "public")]);
    let socket = server.root().join("run/blog/supervisor.sock");
    let supervisor = server.supervisor("blog");
    until("its supervisor has left", || !socket.exists() && !is_alive(supervisor));
    // Asking what runs starts none.
    assert!(server.ps().is_empty());
    assert!(!socket.exists());
    // A change does.
    server.deploy("two", &[("static", "public"), ("web", SERVE)]);
    assert_eq!((server.states(), server.page().as_str()), (vec!["web.1 healthy".to_owned()], "two"));
    let supervisor = server.supervisor("blog");
    server.good(&["scale", "blog", "web=0"]);
    until("nothing is left to supervise", || !socket.exists() && !is_alive(supervisor));
    assert!(server.ps().is_empty());
    server.good(&["scale", "blog", "web=1"]);
    assert_eq!(server.states(), ["web.1 healthy"]);
}

#[test]
fn a_supervisor_outlives_a_killed_daemon_and_is_adopted_by_the_next() {
    let mut server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let supervisor = server.supervisor("blog");
    server.end_daemon(Signal::SIGKILL);
    assert_eq!(server.states(), ["web.1 healthy"], "it can be asked");
    server.start_daemon();
    assert_eq!((server.states(), server.supervisor("blog")), (vec!["web.1 healthy".to_owned()], supervisor));
    server.replace_supervisor("blog");
    until("it has a new one", || server.states() == ["web.1 healthy"]);
}

#[test]
fn instances_survive_a_stop_of_the_daemon() {
    let mut server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let (worker, supervisor) = (server.pid("web.1"), server.supervisor("blog"));
    server.end_daemon(Signal::SIGTERM);
    until("the supervisor has left", || !is_alive(supervisor));
    assert_eq!(get(server_port(&server)).unwrap(), "one");
    let said = server.bad(1, &["ps", "blog"]);
    assert!(
        said.contains("the daemon is not running") && said.contains("hint: systemctl start piku"),
        "{said}"
    );
    server.start_daemon();
    until("it is taken up", || server.states() == ["web.1 healthy"]);
    assert_eq!(server.pid("web.1"), worker);
}

/// Reads the port from the instance's record, without a supervisor.
fn server_port(server: &Server) -> u16 {
    let dir = server.root().join("run/blog/workers");
    let file = support::names(&dir).into_iter().find(|name| name.contains(".json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&fs::read(dir.join(file)).unwrap()).unwrap();
    record["port"].as_u64().unwrap().try_into().unwrap()
}

#[test]
fn a_second_daemon_for_the_same_root_is_refused() {
    let server = Server::new();
    let said = server.bad(75, &["daemon"]);
    assert!(said.contains("a daemon runs for"), "{said}");
    server.deploy("one", &[("web", SERVE)]);
    let said = server.bad(75, &["supervise", "blog"]);
    assert!(said.contains("blog has a supervisor already"), "{said}");
}

#[test]
fn one_bad_app_does_not_stop_the_others_from_starting() {
    let mut server = Server::new();
    let dir = server.release_of("aaa", "bad", &[("web", SERVE)]);
    server.good(&["deploy", "aaa", dir.to_str().unwrap()]);
    server.deploy("one", &[("web", SERVE)]);
    server.good(&["stop", "--all"]);
    server.end_daemon(Signal::SIGTERM);
    fs::write(server.root().join("apps/aaa/releases/1/release.yaml"), "{").unwrap();
    fs::create_dir_all(server.root().join("apps/bbb/current")).unwrap();
    server.start_daemon();
    until("the good one is back", || server.states() == ["web.1 healthy"]);
    assert_eq!(server.page(), "one");
    let dir = server.release_of("aaa", "good", &[("web", SERVE)]);
    server.good(&["deploy", "aaa", dir.to_str().unwrap()]);
}

#[test]
fn an_instance_gets_a_clean_environment_and_its_output_is_logged() {
    let server = Server::new();
    // A port set by the app is for `web` alone.
    let port = piku_tests::ports::free_port();
    server.config(&[("GREETING", "it's\n$HOME"), ("PORT", &port.to_string())]);
    let mut daemonless = server.tool(&["ps"]);
    assert!(daemonless.env("SECRET", "x").stdout(Stdio::null()).status().unwrap().success());
    server.deploy(
        "one",
        &[
            ("web", SERVE),
            ("worker", "env -0 | sort -z | tr '\\0' ';'; echo; echo oops >&2; exec sleep 1000"),
        ],
    );
    let log = server.log("worker.1");
    for expected in [
        "BIND_ADDRESS=127.0.0.1;",
        "LANG=C.UTF-8;",
        "PIKU_APP=blog;",
        "PIKU_COMMIT=0123456789012345678901234567890123456789;",
        "PIKU_RELEASE=1;",
        "PROC_TYPE=worker;",
        "PS=worker.1;",
        &format!("DATA_DIR={};", server.app("data").display()),
    ] {
        assert!(log.contains(expected), "{expected} is not in {log}");
    }
    for unexpected in ["PORT=", "PIKU_ROOT", "PIKU_CHROOT"] {
        assert!(!log.contains(unexpected), "{unexpected} in {log}");
    }
    assert!(log.contains("GREETING=it's"), "{log}");
    assert!(log.contains(" worker.1: oops\n"), "{log}");
    assert_eq!(server.port(), port);
    assert_eq!(server.page(), "one");
}

#[test]
fn unreadable_files_leave_instances_running_and_controllable() {
    let server = Server::new();
    server.deploy("one", &[("worker", "exec sleep 1000")]);
    let worker = server.pid("worker.1");
    for file in ["formation.json", "releases/1/release.yaml"] {
        let path = server.app(file);
        let good = fs::read(&path).ok();
        fs::write(&path, "{\"worker\": ").unwrap();
        server.replace_supervisor("blog");
        until("it is taken up", || server.states() == ["worker.1 running"]);
        assert_eq!(server.pid("worker.1"), worker, "{file}");
        assert!(server.bad(1, &["restart", "blog"]).contains(file));
        good.map_or_else(|| fs::remove_file(&path), |good| fs::write(&path, good)).unwrap();
    }
    fs::write(server.app("formation.json"), "[").unwrap();
    server.replace_supervisor("blog");
    server.good(&["stop", "blog"]);
    assert!(!is_alive(worker));
    let said = server.bad(1, &["ps", "blog"]);
    assert!(said.contains("cannot tell what runs of blog: bad formation in"), "{said}");
}

#[test]
fn a_lost_symlink_to_the_live_release_loses_no_release() {
    let server = Server::new();
    for page in ["one", "two"] {
        server.deploy(page, &[("web", SERVE)]);
    }
    let worker = server.pid("web.1");
    let lost: [fn(&Server); 2] = [
        |server| fs::remove_file(server.app("current")).unwrap(),
        |server| std::os::unix::fs::symlink("nowhere", server.app("current")).unwrap(),
    ];
    for lose in lost {
        lose(&server);
        server.replace_supervisor("blog");
        until("it is taken up", || server.states() == ["web.1 healthy"]);
        assert_eq!((server.pid("web.1"), server.releases()), (worker, vec!["1".to_owned(), "2".to_owned()]));
        let said = server.bad(1, &["restart", "blog"]);
        assert!(said.contains("/current' is not the link to a release\nhint: restore it: ln -sfn"), "{said}");
    }
    server.deploy("three", &[("web", SERVE)]);
    assert_eq!(server.page(), "three");
    until("only the new one is left", || server.states() == ["web.1 healthy"]);
}

#[test]
fn an_app_whose_directory_was_removed_can_be_destroyed() {
    let server = Server::new();
    server.deploy("one", &[("worker", "exec sleep 1000")]);
    let worker = server.pid("worker.1");
    fs::remove_dir_all(server.app("")).unwrap();
    server.good(&["destroy", "blog", "--confirm", "blog"]);
    assert!(!is_alive(worker));
    server.bad(1, &["ps", "blog"]);
}

#[test]
fn bad_settings_are_reported_and_do_not_hide_other_apps() {
    let server = Server::new();
    server.deploy("one", &[("worker", "exec sleep 1000")]);
    let other = server.release_of("other", "two", &[("worker", "exec sleep 1000")]);
    server.good(&["deploy", "other", other.to_str().unwrap()]);
    server.good(&["stop", "other"]);
    fs::write(server.root().join("apps/other/formation.json"), "[").unwrap();
    let (stdout, stderr) = support::texts(&server.run(&["ps"]));
    assert!(stdout.contains("worker.1") && stdout.contains("running"), "{stdout}");
    assert!(stderr.contains("cannot tell what runs of other: bad formation in"), "{stderr}");

    let settings = server.root().join("host.yaml");
    let good = fs::read(&settings).unwrap();
    server.good(&["stop", "blog"]);
    until("the supervisor has left", || {
        fs::metadata(server.root().join("run/blog/supervisor.sock")).is_err()
    });
    fs::write(&settings, "ports: 3\n").unwrap();
    let said = server.bad(1, &["restart", "blog"]);
    assert!(said.contains("host.yaml"), "{said}");
    fs::write(&settings, good).unwrap();
    server.good(&["restart", "blog"]);
}
