//! Deploys with real processes: successes, and each kind of failure.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod interrupted;
mod not_ready;
mod pinned_port;
#[path = "../support/mod.rs"]
mod support;
mod workers;

use std::fs;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use support::{SERVE, Server, get, is_alive, mentioning, names, until};

#[test]
fn a_second_deploy_replaces_the_first() {
    let server = Server::new();
    let said = server.deploy("one", &[("web", SERVE)]);
    let port = server.port();
    assert!(
        said.contains(&format!("-----> Starting web.1 on port {port}\n       web.1 is healthy after ")),
        "{said}"
    );
    let last = format!("-----> blog is live, release 1: http://127.0.0.1:{port}\n");
    assert!(said.ends_with(&last), "{said}");
    assert_eq!(server.page(), "one");
    let old = server.pid("web.1");

    server.deploy("two", &[("web", SERVE)]);
    assert_eq!(server.page(), "two");
    assert_ne!(server.port(), port, "a port of its own, beside the old one");
    until("the old one has ended", || !is_alive(old));
    assert!(get(port).is_err());
    until("only the new one is left", || server.states() == ["web.1 healthy"]);
    assert_eq!(fs::read_link(server.app("current")).unwrap().to_str(), Some("releases/2"));
    assert_eq!(server.releases(), ["1", "2"]);
}

/// Returns the state that a failed deploy must not change.
fn snapshot(server: &Server) -> (String, Vec<String>, Vec<String>, Pid, usize) {
    let workers = names(&server.root().join("run/blog/workers"));
    let count = mentioning(server.root().join("apps/blog").as_os_str().as_encoded_bytes()).len();
    (server.page(), server.releases(), workers, server.pid("web.1"), count)
}

/// Process types with their commands.
type Processes<'a> = &'a [(&'a str, &'a str)];

#[test]
fn a_failed_deploy_explains_itself_leaves_nothing_and_the_old_release_serves() {
    let server = Server::new();
    server.config(&[("HEALTHCHECK_START_PERIOD", "2"), ("STOP_TIMEOUT", "1")]);
    server.deploy("old", &[("web", SERVE)]);
    let before = snapshot(&server);
    let free = server.port() + 30;
    let on_another = format!("python3 serve.py {free}");
    let cases: &[(Processes<'_>, &[&str])] = &[
        (
            &[("web", "echo reason; exit 3")],
            &["web.1 exited with code 3 before it was ready", "the last lines of its log:\n  reason"],
        ),
        (&[("web", "nosuchprogram")], &["web.1 exited with code 127", "nosuchprogram"]),
        (&[("web", &on_another)], &["nothing listens on PORT", &format!("the process listens on :{free}")]),
        (
            &[("web", "exec python3 -m http.server --bind 127.0.0.2 $PORT")],
            &["web.1 listens on 127.0.0.2:", ", but not on 127.0.0.1"],
        ),
        (&[("web", "exec sleep 100")], &["nothing listens on PORT", "must listen on the port in $PORT"]),
        (
            &[("web", "STATUS=500 exec python3 serve.py")],
            &["it answered 500 to GET / (Host: localhost) on port "],
        ),
        (&[("web", "trap '' TERM; while :; do sleep 1; done")], &["nothing listens on PORT"]),
        (
            &[("web", SERVE), ("release", "echo migrating; exit 9")],
            &["-----> Running the release task\n       migrating\n", "the release task exited with code 9"],
        ),
    ];
    for (processes, expected) in cases {
        let said = server.deploy_fails("new", processes);
        for text in *expected {
            assert!(said.contains(text), "{text:?} is not in {said}");
        }
        assert_eq!(snapshot(&server), before, "after {processes:?}\n{said}");
    }
    let talk = {
        let dir = server.release("new", &[("web", "exit 3")]);
        let mut deploy = server.tool(&["deploy", "blog", dir.to_str().unwrap()]);
        support::texts(&deploy.env("PIKU_TALK", "deploy").output().unwrap()).1
    };
    assert!(
        talk.lines().any(|line| line.starts_with(" !     ") && line.contains("exited with code 3")),
        "{talk}"
    );
    server.deploy("next", &[("web", SERVE)]);
    assert_eq!(server.page(), "next");
}

#[test]
fn a_failed_first_deploy_leaves_nothing() {
    let server = Server::new();
    let said = server.deploy_fails("x", &[("web", "exit 3"), ("worker", "exec sleep 100")]);
    assert!(said.contains("web.1 exited with code 3"), "{said}");
    assert!(server.releases().is_empty());
    assert!(!server.app("current").exists());
    assert!(names(&server.root().join("run/blog/workers")).is_empty());
    server.deploy("good", &[("web", SERVE)]);
    assert_eq!(server.page(), "good");
}

#[test]
fn a_release_for_another_app_or_machine_is_refused() {
    let server = Server::new();
    let dir = server.release_of("shop", "x", &[("web", SERVE)]);
    let said = server.bad(1, &["deploy", "blog", dir.to_str().unwrap()]);
    assert!(said.contains("this is a release of shop, not of blog"), "{said}");
    let text = fs::read_to_string(dir.join("release.yaml")).unwrap();
    let machine = nix::sys::utsname::uname().unwrap().machine().to_str().unwrap().to_owned();
    fs::write(dir.join("release.yaml"), text.replace(&machine, "s390x")).unwrap();
    let said = server.bad(1, &["deploy", "shop", dir.to_str().unwrap()]);
    assert!(said.contains("this release was built for s390x"), "{said}");
    assert!(dir.exists(), "a rejected release stays where it was");
    let said = server.bad(1, &["deploy", "blog", "/nonexistent"]);
    assert!(said.contains("cannot read '/nonexistent/release.yaml'"), "{said}");
}

/// Records if two of it run at once.
const ALONE: &str = "mkdir $DATA_DIR/busy || echo twice >>$DATA_DIR/twice; echo $PIKU_RELEASE >>$DATA_DIR/ran; \
                     trap 'sleep 0.2; rmdir $DATA_DIR/busy; exit 0' TERM; while :; do sleep 0.05; done";

#[test]
fn a_plain_worker_is_stopped_before_its_successor_starts() {
    let server = Server::new();
    server.deploy("one", &[("worker", ALONE)]);
    server.deploy("two", &[("worker", ALONE)]);
    server.good(&["restart", "blog"]);
    assert_eq!(fs::read_to_string(server.app("data/ran")).unwrap(), "1\n2\n2\n");
    assert!(!server.app("data/twice").exists(), "two ran at once");
    assert_eq!(server.states(), ["worker.1 running"]);
    let said = server.deploy_fails("three", &[("worker", "exit 4")]);
    assert!(said.contains("worker.1 exited with code 4"), "{said}");
    until("the old worker is back", || server.states() == ["worker.1 running"]);
    assert_eq!(fs::read_to_string(server.app("data/ran")).unwrap(), "1\n2\n2\n2\n");
    assert!(!server.app("data/twice").exists(), "two ran at once");
}

/// Records its start and its SIGTERM.
const LIFE: &str = "echo begin $PIKU_RELEASE >>$DATA_DIR/$PROC_TYPE; \
                    trap 'echo end $PIKU_RELEASE >>$DATA_DIR/$PROC_TYPE; exit 0' TERM; while :; do sleep 0.05; done";

#[test]
fn only_workers_that_may_overlap_run_beside_their_successors() {
    let server = Server::new();
    server.config(&[("OVERLAP", "worker")]);
    let both: Processes<'_> = &[("worker", LIFE), ("single", LIFE)];
    let life = |kind: &str| fs::read_to_string(server.app("data").join(kind)).unwrap();
    server.deploy("one", both);
    let said = server.deploy("two", both);
    assert!(said.contains("Stopping the old single.1") && !said.contains("the old worker.1"), "{said}");
    until("the old worker has ended", || life("worker").contains("end 1"));
    assert_eq!(life("worker"), "begin 1\nbegin 2\nend 1\n");
    assert_eq!(life("single"), "begin 1\nend 1\nbegin 2\n");

    // If the new one fails beside the old one, no old instance is stopped.
    let before = (server.pid("worker.1"), server.pid("single.1"));
    let said = server.deploy_fails("three", &[("worker", "exit 4"), ("single", LIFE)]);
    assert!(said.contains("worker.1 exited with code 4"), "{said}");
    assert_eq!((server.pid("worker.1"), server.pid("single.1")), before);
    assert_eq!(life("worker"), "begin 1\nbegin 2\nend 1\n");
    assert_eq!(life("single"), "begin 1\nend 1\nbegin 2\n");

    server.config(&[]);
    server.deploy("four", both);
    assert!(
        life("worker").ends_with("end 1\nend 2\nbegin 3\n"),
        "OVERLAP is no longer set: {}",
        life("worker")
    );
}

#[test]
fn types_that_are_no_longer_in_the_procfile_stop() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE), ("worker", "exec sleep 1000")]);
    let worker = server.pid("worker.1");
    server.deploy("two", &[("web", SERVE)]);
    until("the worker has ended", || !is_alive(worker));
    until("nothing is left of it", || server.states() == ["web.1 healthy"]);
}

/// Returns a Python server that runs a statement for each connection.
fn answering(statement: &str) -> String {
    format!(
        "exec python3 -c \"import socket, os, time\ns = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n\
         while True:\n c, _ = s.accept(); {statement}; c.close()\""
    )
}

#[test]
fn a_web_that_accepts_and_does_not_answer_is_never_ready() {
    let server = Server::new();
    server.config(&[("HEALTHCHECK_START_PERIOD", "1.5"), ("STOP_TIMEOUT", "1")]);
    server.deploy("old", &[("web", SERVE)]);
    // Like a pre-forking server whose workers die at each request.
    let dies = answering("os.fork() or (c.recv(1), os._exit(1)); os.wait()");
    for (web, words) in [
        (
            answering("time.sleep(1000)"),
            ["it accepted GET / (Host: localhost) on port ", " and did not answer\n"],
        ),
        (
            answering("c.close()"),
            [
                "it accepted GET / (Host: localhost) on port ",
                " and closed the connection without an answer\n",
            ],
        ),
        (
            dies,
            [
                "it accepted GET / (Host: localhost) on port ",
                " and closed the connection without an answer\n",
            ],
        ),
        (
            answering("c.sendall(b'220 hello\\\\n')"),
            ["its answer to GET / (Host: localhost) on port ", " is not HTTP/1"],
        ),
        (
            answering("c.sendall(b'HTTP/1.1 103 Early Hints\\\\r\\\\n\\\\r\\\\n')"),
            [
                "it accepted GET / (Host: localhost) on port ",
                " and closed the connection without an answer\n",
            ],
        ),
        (
            answering(
                "c.sendall(b'HTTP/1.1 200'); [(c.sendall(b' '), time.sleep(0.1)) for _ in range(1000)]",
            ),
            ["it accepted GET / (Host: localhost) on port ", " and did not answer\n"],
        ),
    ] {
        let said = server.deploy_fails("new", &[("web", &web)]);
        assert!(words.iter().all(|word| said.contains(word)), "{web}: {said}");
        assert_eq!(server.page(), "old", "{web}");
    }
}

#[test]
fn a_tcp_health_check_only_needs_an_accepted_connection() {
    let server = Server::new();
    server.config(&[("HEALTHCHECK", "tcp"), ("HEALTHCHECK_START_PERIOD", "2")]);
    server.deploy("x", &[("web", &answering("time.sleep(1000)"))]);
    assert_eq!(server.states(), ["web.1 healthy"]);
    let said = server.deploy_fails("y", &[("web", "exec sleep 1000")]);
    assert!(said.contains("nothing listens on PORT"), "{said}");
    server.config(&[("HEALTHCHECK", "udp")]);
    let said = server.deploy_fails("z", &[("web", SERVE)]);
    assert!(said.contains("HEALTHCHECK: 'udp' is not a protocol of health checks\n"), "{said}");
    assert!(said.contains("hint: HEALTHCHECK=tcp is for apps that speak no HTTP"), "{said}");
    assert_eq!(server.states(), ["web.1 healthy"], "the old one is left");
}

#[test]
fn instances_run_in_their_jail() {
    let Some(server) = Server::in_jail() else { return };
    let look = "ls / >/data/root; id -u >/data/uid; echo $HOME $DATA_DIR >/data/env; exec sleep 1000";
    server.deploy("one", &[("web", SERVE), ("worker", look), ("release", "touch /app/x")]);
    assert_eq!(server.page(), "one");
    assert_eq!(names(&server.app("releases/1/app")), ["page", "serve.py"], "a release never changes");
    assert_eq!(fs::read_to_string(server.app("data/env")).unwrap(), "/data/home /data\n");
    assert!(
        !fs::read_to_string(server.app("data/root")).unwrap().contains("root\nrun"),
        "no sight of the host"
    );
    server.deploy("two", &[("web", SERVE)]);
    assert_eq!(server.page(), "two");
    let said = server.deploy_fails("three", &[("web", "echo boo; exit 7")]);
    assert!(said.contains("web.1 exited with code 7 before it was ready"), "{said}");
    assert_eq!(server.page(), "two");
}

#[test]
fn a_second_change_waits_and_then_is_rejected_as_busy() {
    let server = Server::new();
    let settings = server.root().join("host.yaml");
    let ports = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, ports + "lock_timeout: 1\n").unwrap();
    server.deploy("one", &[("web", SERVE)]);
    let dir = server.release("two", &[("web", SERVE), ("release", "echo started; exec sleep 1000")]);
    let mut deploy =
        server.tool(&["deploy", "blog", dir.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap();
    until("the task runs", || server.log("release.1").contains("started"));
    let said = server.bad(75, &["restart", "blog"]);
    assert!(said.contains("Waiting for the change of blog that is in progress"), "{said}");
    assert!(said.contains("gave up waiting for the change of blog that is in progress"), "{said}");
    server.good(&["stop", "blog"]);
    assert_eq!(deploy.wait().unwrap().code(), Some(1), "stop ends a deploy");
    assert_eq!(server.releases(), ["1"]);
    server.good(&["restart", "blog"]);
    assert_eq!(server.page(), "one");
}

#[test]
fn old_releases_are_removed_and_the_last_five_stay() {
    let server = Server::new();
    for round in 1..=7 {
        server.deploy(&format!("{round}"), &[("worker", "exec sleep 1000")]);
    }
    assert_eq!(server.releases(), ["3", "4", "5", "6", "7"]);
    let is_removed = || !server.app("releases/.1.gone").exists() && !server.app("releases/.2.gone").exists();
    until("the daemon has removed the old releases", is_removed);

    // `gc` removes the rest, but not during a push.
    let settings = fs::read_to_string(server.root().join("host.yaml")).unwrap();
    fs::write(server.root().join("host.yaml"), settings + "keep_releases: 3\n").unwrap();
    fs::create_dir_all(server.app("deploy.killed/source")).unwrap();
    fs::create_dir_all(server.app("layers/unused/content")).unwrap();
    let json = server.good(&["gc", "--dry-run", "--format", "json"]).0;
    let found: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    let told: Vec<String> = found
        .iter()
        .map(|one| format!("{} {}", one["kind"].as_str().unwrap(), one["name"].as_str().unwrap()))
        .collect();
    let expected =
        ["release releases/3", "release releases/4", "layer layers/unused", "leftover deploy.killed"];
    assert_eq!(told, expected);
    assert!(found.iter().all(|one| one["app"] == "blog" && one["bytes"].as_u64().unwrap() > 0), "{found:#?}");
    assert_eq!(server.releases().len(), 5, "it was a dry run");
    let lock = fs::File::create(server.app("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let said = server.bad(75, &["gc", "blog"]);
    assert!(said.contains("a push to blog is in progress"), "{said}");
    let (_, said) = server.good(&["gc"]);
    assert!(said.contains("blog is left alone"), "{said}");
    // Other tests start programs, which inherit the descriptor until they are executed.
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock).unwrap();
    let (text, _) = server.good(&["gc", "blog"]);
    assert!(text.starts_with("KIND ") && text.ends_with(" removed\n"), "{text}");
    assert_eq!(server.releases(), ["5", "6", "7"]);
    assert!(!server.app("deploy.killed").exists() && !server.app("layers/unused").exists());
    assert_eq!(server.good(&["gc"]).0, "nothing to be removed\n");
    assert_eq!(server.states(), ["worker.1 running"]);
}

#[test]
fn a_daemon_finishes_interrupted_removals() {
    let mut server = Server::new();
    server.deploy("one", &[("worker", "exec sleep 1000")]);
    server.end_daemon(Signal::SIGKILL);
    for half in ["releases/.9.gone/app/deep", "cache/.pip.gone/wheels"] {
        fs::create_dir_all(server.app(half)).unwrap();
    }
    server.start_daemon();
    let is_removed = || !server.app("releases/.9.gone").exists() && !server.app("cache/.pip.gone").exists();
    until("the removals are finished", is_removed);
    assert_eq!(server.releases(), ["1"]);
}
