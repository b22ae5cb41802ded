//! A full disk: a small tmpfs for the whole root.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::Write;
use std::process::Command;

use nix::sys::signal::Signal;
use support::{SERVE, Server, get, until};

/// Set when this test runs again in its own mount namespace.
const INSIDE: &str = "PIKU_TEST_INSIDE";

#[test]
fn a_full_disk_drops_lines_and_stops_no_instance() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let name = "a_full_disk_drops_lines_and_stops_no_instance";
    let mut again = Command::new("unshare");
    // Root needs only a mount namespace; other users need a user namespace too.
    again.arg(if nix::unistd::geteuid().is_root() { "--mount" } else { "--map-root-user" }).arg("--mount");
    if !Command::new("unshare")
        .args(again.get_args())
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        assert!(std::env::var_os("CI").is_none(), "cannot make a mount namespace");
        let _ = writeln!(std::io::stderr(), "SKIPPED: a full disk: cannot make a mount namespace");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let out = again.arg(program).args(["--exact", name, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let (stdout, stderr) = support::texts(&out);
    assert!(out.status.success(), "{stdout}{stderr}");
}

/// Writes [`LINES`] lines when `go.1` appears and again when `go.2` does; records each in a file on another
/// disk.
const WORKER: &str = "for n in 1 2; do while ! test -e $GO.$n; do sleep 0.02; done; \
                      seq 1 100000; echo $n >>$GO.done; done; exec sleep 1000";
const LINES: u64 = 100_000;

fn inside() {
    let mut server = Server::new();
    // The whole root is on the small disk, including records, fifos and spools.
    server.end_daemon(Signal::SIGTERM);
    let settings = fs::read(server.root().join("host.yaml")).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"]).arg(server.root());
    assert!(mount.status().unwrap().success());
    fs::write(server.root().join("host.yaml"), settings).unwrap();
    server.start_daemon();
    server.config(&[("GO", server.path("go").to_str().unwrap())]);
    server.deploy("one", &[("web", SERVE), ("worker", WORKER)]);
    let pids = (server.pid("web.1"), server.pid("worker.1"));
    let filler = server.app("data/filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let done = || fs::read_to_string(server.path("go.done")).unwrap_or_default();
    fs::write(server.path("go.1"), "").unwrap();
    until("the worker has written everything without being blocked", || done() == "1\n");
    assert_eq!(get(server.port()).unwrap(), "one");
    assert_eq!(server.states(), ["web.1 healthy", "worker.1 running"]);
    drop(file);
    fs::remove_file(&filler).unwrap();
    fs::write(server.path("go.2"), "").unwrap();
    until("the log goes on", || {
        server.log("worker.1").ends_with(&format!(" worker.1: {LINES}\n")) && done() == "1\n2\n"
    });
    assert_eq!((server.pid("web.1"), server.pid("worker.1")), pids);

    let log = server.log("worker.1");
    let is_said = |line: &&str| line.contains(" worker.1: ");
    let (said, remarks): (Vec<&str>, Vec<&str>) = log.lines().partition(is_said);
    let lost: Vec<u64> = remarks
        .iter()
        .filter_map(|line| {
            let (number, rest) = line.split_once(" piku: ")?.1.split_once(" lines (")?;
            assert!(rest.contains(" lost since 20") && rest.contains("No space left on device"), "{rest}");
            number.parse().ok()
        })
        .collect();
    // A line cut by the full disk counts as lost, but its beginning is in the log.
    let all = said.len() as u64 + lost.iter().sum::<u64>();
    assert!(
        (2 * LINES..=2 * LINES + lost.len() as u64).contains(&all),
        "{} logged, {lost:?} lost",
        said.len()
    );
    assert!(lost.iter().sum::<u64>() > LINES / 2, "{lost:?}");
    // After the unmount the directory below is removed with the others.
    server.good(&["stop", "--all"]);
    server.end_daemon(Signal::SIGTERM);
    assert!(Command::new("umount").arg("--lazy").arg(server.root()).status().unwrap().success());
}
