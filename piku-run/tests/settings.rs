//! Settings of an app in ENV or its config: limits, health checks, readiness.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use serde_json::json;
use support::{SERVE, Server, until};

/// Sends READY=1 once a file exists.
const NOTIFIES: &str = r#"python3 -c '
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"STATUS=loading")
print("waiting", flush=True)
while not os.path.exists(os.environ["DATA_DIR"] + "/go"): time.sleep(0.01)
s.send(b"STATUS=up\nREADY=1")
while True: time.sleep(1)
'"#;

fn readiness_is_said(server: &Server) {
    server.config(&[("NOTIFY", "worker"), ("HEALTHCHECK_START_PERIOD", "3"), ("STOP_TIMEOUT", "1")]);
    let said = server.deploy_fails("one", &[("web", SERVE), ("worker", NOTIFIES)]);
    assert!(
        said.contains("worker.1 was not ready within 3 s (HEALTHCHECK_START_PERIOD): it did not say READY=1"),
        "{said}"
    );
    server.config(&[("NOTIFY", "worker"), ("STOP_TIMEOUT", "1")]);
    fs::write(server.app("data/go"), "").unwrap();
    let said = server.deploy("one", &[("web", SERVE), ("worker", NOTIFIES)]);
    assert!(said.contains("worker.1 is running after"), "{said}");
    let worker = server.pid("worker.1");
    server.replace_supervisor("blog");
    until("it is taken up", || server.states() == ["web.1 healthy", "worker.1 running"]);
    assert_eq!(server.pid("worker.1"), worker);
}

#[test]
fn a_deploy_waits_for_readiness_from_the_instance_itself() {
    let server = Server::new();
    readiness_is_said(&server);
    // A message from another process does not count.
    fs::remove_file(server.app("data/go")).unwrap();
    server.config(&[("NOTIFY", "worker"), ("HEALTHCHECK_START_PERIOD", "4"), ("STOP_TIMEOUT", "1")]);
    let folder = server.root().join("run/blog/workers");
    let before = support::names(&folder);
    let dir = server.release("two", &[("worker", NOTIFIES)]);
    let deploy = server.tool(&["deploy", "blog", dir.to_str().unwrap()]).spawn().unwrap();
    let speak = || {
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        support::names(&folder)
            .iter()
            .filter(|name| name.ends_with(".notify") && !before.contains(name))
            .filter(|name| socket.send_to(b"READY=1", folder.join(name).join("socket")).is_ok())
            .count()
    };
    until("a stranger has spoken", || speak() == 1);
    let out = deploy.wait_with_output().unwrap();
    assert!(!out.status.success());
}

#[test]
fn a_deploy_waits_for_readiness_in_a_jail() {
    let Some(server) = Server::in_jail() else { return };
    readiness_is_said(&server);
}

/// Allocates 200 MB whenever a file appears.
const EATS: &str = r#"python3 -c '
import os, time
go = os.environ["DATA_DIR"] + "/go"
while True:
    if os.path.exists(go):
        os.remove(go)
        kept = b"x" * (200 << 20)
        print("it has", len(kept), flush=True)
    time.sleep(0.01)
'"#;

#[test]
fn an_instance_over_its_memory_limit_ends_alone_with_a_reason() {
    let Some(server) = Server::in_jail() else { return };
    server.config(&[("WORKER_MEMORY_LIMIT", "64m")]);
    server.deploy("one", &[("web", SERVE), ("worker", EATS)]);
    let web = server.pid("web.1");
    fs::write(server.app("data/go"), "").unwrap();
    until("it has ended and is back", || {
        let row = server.row("worker.1");
        row["restarts"] == 1 && !row["limits"].as_array().unwrap().is_empty()
    });
    let row = server.row("worker.1");
    let limit = &row["limits"][0];
    assert_eq!((&limit["limit"], &limit["value"]), (&json!("memory"), &json!("64m")), "{row}");
    let (log, table) = (server.log("worker.1"), server.good(&["ps", "blog"]).0);
    if limit["by"] == "cgroup" {
        assert_eq!(row["last_exit"], "out of memory", "{row}");
        let peak = row["last_memory_peak_bytes"].as_u64().unwrap();
        assert!((50 << 20..=64 << 20).contains(&peak), "{row}");
        assert!(log.contains(" worker.1 piku: worker.1 ran out of memory at 6"), "{log}");
        assert!(table.contains(" out of memory (6") && table.contains("memory 64m (by cgroup)"), "{table}");
    } else {
        // Its allocation fails, and it ends by itself.
        assert_eq!((&row["last_exit"], &row["last_memory_peak_bytes"]), (&json!("exit 1"), &json!(null)));
        assert!(log.contains(" worker.1: MemoryError\n"), "{log}");
        assert!(table.contains("memory 64m (by rlimit, each process)"), "{table}");
    }
    assert_eq!(server.pid("web.1"), web);

    server.good(&["config", "blog", "set", "WORKER_MEMORY_LIMIT=600m"]);
    fs::write(server.app("data/go"), "").unwrap();
    until("it has what it wanted", || server.log("worker.1").contains(" worker.1: it has 209715200\n"));
    let row = server.row("worker.1");
    assert_eq!((&row["limits"][0]["value"], &row["restarts"]), (&json!("600m"), &json!(0)), "{row}");
}

#[test]
fn limits_of_a_type_hold_and_are_shown_and_bad_ones_are_told() {
    let limits = [("NOFILE_LIMIT", "512"), ("WORKER_NOFILE_LIMIT", "64"), ("MEMORY_LIMIT", "900m")];
    let tell = "ulimit -n; ulimit -d; exec sleep 1000";
    for server in [Some(Server::new()), Server::in_jail()].into_iter().flatten() {
        server.config(&limits);
        server.deploy("one", &[("web", SERVE), ("worker", tell)]);
        until("it has told", || server.log("worker.1").contains(" worker.1: 64\n"));
        let row = server.row("worker.1");
        assert_eq!(row["limits"][1], json!({"limit": "nofile", "value": "64", "by": "rlimit"}), "{row}");
        assert_eq!(
            (&row["limits"][0]["limit"], &row["limits"][0]["value"]),
            (&json!("memory"), &json!("900m"))
        );
        if row["limits"][0]["by"] == "rlimit" {
            until("it has told all", || server.log("worker.1").contains(" worker.1: 921600\n"));
        }
        let table = server.good(&["ps", "blog"]).0;
        assert!(
            table.contains("\nLimits web.1: memory 900m (by ") && table.contains("nofile 512 (by"),
            "{table}"
        );

        server.config(&[("WORKER_PIDS_LIMIT", "many")]);
        for refused in [
            server.deploy_fails("two", &[("web", SERVE), ("worker", tell)]),
            server.bad(1, &["restart", "blog"]),
        ] {
            assert!(refused.contains("WORKER_PIDS_LIMIT: 'many' is not a number from 1 on"), "{refused}");
        }
        assert_eq!(server.states(), ["web.1 healthy", "worker.1 running"]);
    }
}

#[test]
fn tmp_is_as_large_as_the_app_says_and_never_larger_than_its_memory() {
    let Some(server) = Server::in_jail() else { return };
    let settings = [("WORKER_TMP_SIZE", "8m"), ("SMALL_TMP_SIZE", "512m"), ("SMALL_MEMORY_LIMIT", "32m")];
    server.config(&settings);
    let said = "df -k /tmp | tail -n 1; exec sleep 1000";
    server.deploy("one", &[("web", SERVE), ("worker", said), ("small", said), ("usual", said)]);
    for (instance, kilobytes) in [("worker.1", 8 << 10), ("small.1", 32 << 10), ("usual.1", 64 << 10)] {
        let size = || server.log(instance).split_whitespace().nth(3)?.parse::<u64>().ok();
        until("it has looked", || size().is_some());
        assert_eq!(size(), Some(kilobytes), "{instance}: {}", server.log(instance));
    }
    server.config(&[("WEB_TMP_SIZE", "lots")]);
    let said = server.deploy_fails("two", &[("web", SERVE)]);
    assert!(said.contains("WEB_TMP_SIZE: 'lots' is not an amount of memory"), "{said}");
}
