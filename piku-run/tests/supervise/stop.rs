//! Stops, after which no process remains.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{SERVE, Server, is_alive, mentioning, until};

/// Tries to escape a stop: ignores SIGTERM, starts sessions, forks twice, and keeps forking.
const RUNAWAYS: &str = r#"python3 -c '
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def away(session, closed):
    if os.fork() == 0:
        if session: os.setsid()
        if os.fork() == 0:
            if closed: os.closerange(0, 256)
            while True: time.sleep(1)
        os._exit(0)
away(False, False); away(True, False); away(True, True)
if os.fork() == 0:
    os.setsid()
    end = time.monotonic() + 300
    while time.monotonic() < end:
        if os.fork() != 0: os._exit(0)
        time.sleep(0.01)
print("running", flush=True)
while True: time.sleep(1)
'"#;

fn stop_leaves_nothing(server: &Server, is_in_jail: bool) {
    server.config(&[("STOP_TIMEOUT", "1")]);
    server.deploy("one", &[("worker", RUNAWAYS), ("shell", "sleep 1000; true")]);
    until("they run", || server.log("worker.1").contains("running"));
    let all = || {
        let root = server.root();
        let of = |pid: &Pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environ).contains("PS=")
        };
        mentioning(root.as_os_str().as_encoded_bytes()).into_iter().filter(of).count()
    };
    assert!(all() >= 2, "{}", all());
    let said = server.good(&["stop", "blog"]).1;
    if is_in_jail {
        // Those of a jail have ended with its init. A process of piku-chroot's removes their files in the background.
        until("their files are removed", || all() == 0);
    }
    // A process that forks and ends all the time can be missed by a single check.
    for _ in 0..20 {
        assert_eq!(all(), 0, "{said}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(server.states(), ["worker.1 stopped", "shell.1 stopped"]);
    assert!(server.log("worker.1").contains("worker.1 did not end within 1 s, killed"));
}

/// Ten processes in their own sessions that fork and end all the time, for at most a minute, and hold a lock
/// while any of them lives.
const HOPPERS: &str = r#"python3 -c '
import fcntl, os, time
held = open(os.environ["DATA_DIR"] + "/held", "w")
fcntl.flock(held, fcntl.LOCK_EX)
for number in range(10):
    if os.fork() == 0:
        os.setsid()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if os.fork() != 0: os._exit(0)
            time.sleep(0.005)
        os._exit(0)
print("running", flush=True)
while True: time.sleep(1)
'"#;

#[test]
fn processes_that_fork_and_end_all_the_time_do_not_survive_a_stop() {
    let server = Server::new();
    server.config(&[("STOP_TIMEOUT", "1")]);
    server.deploy("one", &[("worker", HOPPERS)]);
    until("they run", || server.log("worker.1").contains("running"));
    server.good(&["stop", "blog"]);
    let lock = fs::File::open(server.app("data/held")).unwrap();
    let free = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock);
    assert!(free.is_ok(), "a process still holds the lock");
}

#[test]
fn no_descendant_survives_a_stop() {
    stop_leaves_nothing(&Server::new(), false);
}

#[test]
fn no_descendant_survives_a_stop_in_a_jail() {
    let Some(server) = Server::in_jail() else { return };
    stop_leaves_nothing(&server, true);
}

#[test]
fn descendants_of_a_crashed_instance_end_before_it_restarts() {
    let server = Server::new();
    let worker = "setsid sh -c 'echo $$ >$DATA_DIR/left; exec sleep 1000' & sleep 1000; true";
    server.deploy("one", &[("worker", worker)]);
    let left = || fs::read_to_string(server.app("data/left")).ok()?.trim().parse().ok().map(Pid::from_raw);
    until("it has left something", || left().is_some_and(is_alive));
    let old = left().unwrap();
    kill(server.pid("worker.1"), Signal::SIGKILL).unwrap();
    until("the next one runs", || left().is_some_and(|new| new != old && is_alive(new)));
    assert!(!is_alive(old));
}

#[test]
fn a_stopped_app_stays_stopped_and_restart_starts_it() {
    let mut server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    assert_eq!(server.good(&["stop", "blog"]).1, "-----> blog is stopped: web.1\n");
    assert_eq!(server.good(&["stop", "blog"]).1, "-----> blog is stopped already\n");
    assert_eq!(server.states(), ["web.1 stopped"]);
    server.end_daemon(Signal::SIGTERM);
    server.start_daemon();
    assert_eq!(server.states(), ["web.1 stopped"]);
    server.good(&["restart", "blog"]);
    assert_eq!((server.states(), server.page().as_str()), (vec!["web.1 healthy".to_owned()], "one"));
    server.good(&["stop", "blog"]);
    server.deploy("two", &[("web", SERVE)]);
    assert_eq!(server.page(), "two", "a deploy starts it too");
}

#[test]
fn stop_all_lasts_until_the_daemon_is_started_again() {
    let mut server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    server.good(&["stop", "--all"]);
    assert_eq!(server.states(), ["web.1 stopped"]);
    server.end_daemon(Signal::SIGTERM);
    server.start_daemon();
    until("it is back", || server.states() == ["web.1 healthy"]);
}
