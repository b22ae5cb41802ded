//! Cron jobs in the app's environment: they run, appear in `ps`, are stored, and survive a new supervisor.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;
use support::{Server, is_alive, until};

/// The stored times are set back, so that runs are due at once: the test does not wait for the next minute.
#[test]
fn cron_jobs_run_and_a_missed_run_is_made_up_for() {
    let mut server = Server::in_jail().unwrap_or_else(Server::new);
    server.config(&[("TZ", "UTC"), ("STOP_TIMEOUT", "1")]);
    let nightly = "0 3 * * * echo nightly in $PIKU_RELEASE as $PS; exit 3";
    let processes = [
        ("worker", "exec sleep 1000"),
        ("cron", "* * * * * echo tick * in $PIKU_RELEASE; exec sleep 1000"),
        ("cron-nightly", nightly),
    ];
    let said = server.deploy("one", &processes);
    assert!(
        said.contains("       cron runs next at ") && said.contains("       cron-nightly runs next at "),
        "{said}"
    );
    assert_eq!(said.matches(" 03:00, ").count(), 2, "{said}");
    assert_eq!(server.states(), ["worker.1 running", "cron.1 waiting", "cron-nightly.1 waiting"]);
    assert!(server.row("cron-nightly.1")["next_run"].as_str().unwrap().ends_with("T03:00:00Z"));
    // The supervisor does not run at night.
    server.end_daemon(Signal::SIGTERM);
    let old = server.supervisor("blog");
    until("the supervisor has left", || !is_alive(old));
    let file = server.app("crons.json");
    let mut memories: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    memories["cron-nightly"]["seen"] = json!("2026-01-01T12:00:00Z");
    let moment = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(90);
    memories["cron"]["seen"] = json!(moment);
    fs::write(&file, memories.to_string()).unwrap();
    server.start_daemon();
    until("the missed run has ended", || server.row("cron-nightly.1")["last_exit"] == "exit 3");
    let log = server.log("cron-nightly.1");
    assert!(
        log.contains("was missed, it runs now") && log.contains("nightly in 1 as cron-nightly.1"),
        "{log}"
    );
    until("the other runs too", || server.log("cron.1").contains("tick "));
    assert!(server.log("cron.1").contains(" in 1\n") && !server.log("cron.1").contains("missed"));
    let run = server.pid("cron.1");
    assert!(server.good(&["ps", "blog"]).0.contains("NEXT RUN"));
    server.replace_supervisor("blog");
    until("it is taken up", || server.row("cron.1")["state"] == "running");
    assert_eq!(server.pid("cron.1"), run);

    // A deploy lets it finish, a stop does not.
    server.deploy("two", &processes);
    assert!(is_alive(run));
    server.good(&["stop", "blog"]);
    assert!(!is_alive(run));
    assert_eq!(server.states(), ["worker.1 stopped", "cron.1 stopped", "cron-nightly.1 stopped"]);
    server.good(&["restart", "blog"]);
    assert_eq!(server.row("cron-nightly.1")["last_exit"], "exit 3");
    let said = server.good(&["cron-run", "blog", "cron-nightly"]).1;
    assert!(said.contains("cron-nightly runs now; its output: piku logs blog cron-nightly"), "{said}");
    until("the job runs again", || server.log("cron-nightly.1").matches("nightly in 2").count() == 1);
    let said = server.bad(1, &["cron-run", "blog", "worker"]);
    assert!(
        said.contains("blog has no cron job 'worker'") && said.contains("it has: cron, cron-nightly"),
        "{said}"
    );
    server.good(&["scale", "blog", "cron=0"]);
    assert_eq!(server.states(), ["worker.1 running", "cron-nightly.1 waiting"]);
}
