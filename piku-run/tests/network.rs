//! `NETWORK=own`: an app with its own network, through a real pasta.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{SERVE, Server, until};

/// Returns a server whose apps can have their own network; prints that the test is skipped if this machine
/// cannot.
fn server() -> Option<Server> {
    let server = Server::in_jail()?;
    let tun = File::options().read(true).write(true).open("/dev/net/tun").is_ok();
    if piku_chroot::find_pasta().is_some() && tun {
        return Some(server);
    }
    assert!(std::env::var_os("CI").is_none() || !tun, "pasta is not installed: apt install passt");
    let _ = writeln!(std::io::stderr(), "skipped: pasta (package passt) or /dev/net/tun is missing");
    None
}

/// Connects to these ports of the loopback address from inside, and prints the results.
fn reaches(ports: &[u16]) -> String {
    format!(
        "exec python3 -c \"import socket, time\n\
         for host in ['127.0.0.1', socket.gethostbyname('localhost')]:\n \
         for port in {ports:?}:\n  \
         s = socket.socket(); s.settimeout(1)\n  \
         try: s.connect((host, port)); print('REACHED', host, port, flush=True)\n  \
         except OSError as err: print('not', host, port, err, flush=True)\n\
         print('tried', flush=True)\n\
         time.sleep(1000)\""
    )
}

/// Waits until the app answers with this page: pasta may refuse connections while it starts.
fn wait_for_page(server: &Server, page: &str) {
    until("it answers", || support::get(server.port()).is_ok_and(|answer| answer == page));
}

/// Returns the pids of a process's pasta children.
fn pastas(of: Pid) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let is_pasta =
        |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("pas"));
    let pids = children.split_whitespace().filter(|pid| is_pasta(pid));
    pids.map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

#[test]
fn an_app_with_its_own_network_is_reached_at_its_port_and_reaches_no_loopback() {
    let Some(server) = server() else { return };
    let secret = TcpListener::bind("127.0.0.1:0").unwrap();
    let database = secret.local_addr().unwrap().port();
    server.config(&[("NETWORK", "own")]);
    let worker = reaches(&[database, 22]);
    server.deploy("one", &[("web", SERVE), ("worker", &worker)]);
    wait_for_page(&server, "one");
    until("it has tried", || server.log("worker.1").contains("tried"));
    let log = server.log("worker.1");
    assert!(!log.contains("REACHED") && log.contains(&format!("not 127.0.0.1 {database}")), "{log}");
    // The gateway's address would lead to the machine's loopback; no test asks an address that is not its
    // own.
    let pasta = pastas(server.pid("web.1"))[0];
    let arguments = fs::read_to_string(format!("/proc/{pasta}/cmdline")).unwrap();
    assert!(arguments.split('\0').any(|argument| argument == "--no-map-gw"), "{arguments}");
    let row = server.row("web.1");
    assert!(row["listens_on_all"] == false && row["note"].is_null(), "{row}");

    // If either is killed, the other ends too, and both restart.
    for victim in ["pasta", "monitor"] {
        let before = server.pid("web.1");
        let pasta = pastas(before);
        assert_eq!(pasta.len(), 1, "{victim}");
        kill(if victim == "pasta" { pasta[0] } else { before }, Signal::SIGKILL).unwrap();
        until("it is back", || {
            let row = server.row("web.1");
            // Right after the kill it has no pid.
            row["state"] == "healthy"
                && row["pid"].as_i64().is_some_and(|pid| pid != i64::from(before.as_raw()))
        });
        assert!(!support::is_alive(pasta[0]) && !support::is_alive(before), "{victim}");
        wait_for_page(&server, "one");
    }

    // A deploy beside it, then back to the shared network.
    server.deploy("two", &[("web", SERVE)]);
    wait_for_page(&server, "two");
    let monitor = server.pid("web.1");
    let pasta = pastas(monitor)[0];
    server.config(&[]);
    server.deploy("three", &[("web", SERVE)]);
    until("the old one is gone", || server.states() == ["web.1 healthy"]);
    assert!(!support::is_alive(pasta));
    assert!(pastas(server.pid("web.1")).is_empty());
}

#[test]
fn an_own_network_that_is_not_possible_is_reported() {
    let server = Server::new();
    server.config(&[("NETWORK", "own")]);
    let said = server.deploy_fails("one", &[("web", SERVE)]);
    assert!(said.contains("NETWORK=own) needs the jail"), "{said}");
    server.config(&[("NETWORK", "mine")]);
    let said = server.deploy_fails("one", &[("web", SERVE)]);
    assert!(said.contains("NETWORK: 'mine' is not a network\nhint: NETWORK=own gives"), "{said}");
}
