//! A flood of messages, a supervisor that does not answer, clients that send nothing: none of them delays
//! anything else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{SERVE, Server, is_alive, texts, until};

/// Reports readiness, then floods the socket: messages with too many descriptors, very long text, and random
/// bytes.
const FLOOD: &str = r#"python3 -c '
import array, os, socket
path = os.environ["NOTIFY_SOCKET"]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"READY=1", path)
fds = array.array("i", [os.open("/dev/null", 0) for _ in range(100)])
for count in (8, 9, 100):
    for _ in range(100):
        s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds[:count])], 0, path)
print("sent", flush=True)
s.sendto(b"READY=1\n" * 8192, path)
while True: s.sendto(os.urandom(4096), path)
'"#;

fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Returns the CPU time of a process in ticks of 10 ms.
fn ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_flood_of_notify_messages_affects_only_its_sender() {
    let server = Server::new();
    server.config(&[("NOTIFY", "flood")]);
    let before = || descriptors(server.supervisor("blog"));
    server.deploy("one", &[("web", SERVE), ("flood", FLOOD)]);
    until("the descriptors are sent", || server.log("flood.1").contains("sent"));
    assert!(before() < 60, "{} descriptors", before());
    assert_eq!(server.states(), ["web.1 healthy", "flood.1 running"]);
    let supervisor = server.supervisor("blog");
    let used = ticks(supervisor);
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks(supervisor) - used < 40, "{} ticks in a second", ticks(supervisor) - used);
    server.deploy("two", &[("web", SERVE), ("flood", FLOOD)]);
    assert_eq!(server.page(), "two");
    let flood = server.pid("flood.1");
    server.good(&["stop", "blog"]);
    assert!(!is_alive(flood));
    server.good(&["destroy", "blog", "--confirm", "blog"]);
}

#[test]
fn a_message_from_another_process_makes_no_instance_ready() {
    let server = Server::new();
    server.config(&[("NOTIFY", "worker"), ("START_TIMEOUT", "60")]);
    let worker = r#"python3 -c '
import os, socket, time
while not os.path.exists(os.environ["DATA_DIR"] + "/go"): time.sleep(0.01)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)'"#;
    let dir = server.release("one", &[("worker", worker)]);
    let mut deploy = server.tool(&["deploy", "blog", dir.to_str().unwrap()]).spawn().unwrap();
    let folder = server.root().join("run/blog/workers");
    let socket = || support::names(&folder).into_iter().find(|name| name.ends_with(".notify"));
    until("the socket", || socket().is_some_and(|name| folder.join(name).join("socket").exists()));
    let path = folder.join(socket().unwrap()).join("socket");
    let stranger = std::os::unix::net::UnixDatagram::unbound().unwrap();
    for _ in 0..10 {
        stranger.send_to(b"READY=1", &path).unwrap();
    }
    // The supervisor handles earlier messages before it answers each request.
    for _ in 0..2 {
        assert_eq!(server.states(), ["worker.1 starting"]);
    }
    fs::write(server.app("data/go"), "").unwrap();
    assert!(deploy.wait().unwrap().success());
    assert_eq!(server.states(), ["worker.1 running"]);
}

/// Stops a process, and continues it when dropped, also if the test fails.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: Pid) -> Self {
        kill(pid, Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn a_stuck_supervisor_delays_no_other_app() {
    let mut server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let dir = server.release_of("stuck", "stuck", &[("web", SERVE)]);
    server.good(&["deploy", "stuck", dir.to_str().unwrap()]);
    let worker = server.pid_of("stuck", "web.1");
    let stuck = server.supervisor("stuck");
    let stopped = Stopped::new(stuck);

    let out = server.run(&["ps", "--format", "json"]);
    let (stdout, stderr) = texts(&out);
    assert_eq!(out.status.code(), Some(75), "{stderr}");
    let said = "cannot tell what runs of stuck: the supervisor of stuck does not answer: it has said nothing";
    assert!(stderr.contains(said) && stderr.contains(&format!("kill -KILL {stuck};")), "{stderr}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    let states: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["app"].as_str().unwrap(), row["state"].as_str().unwrap())).collect();
    assert_eq!(states, [("blog", "healthy"), ("stuck", "unknown")]);
    assert_eq!(rows[1]["pid"], worker.as_raw(), "{stdout}");

    server.deploy("two", &[("web", SERVE)]);
    assert_eq!(server.page(), "two");
    server.good(&["gc"]);
    server.end_daemon(Signal::SIGKILL);
    server.start_daemon();
    server.replace_supervisor("blog");
    until("blog is taken up", || server.states() == ["web.1 healthy"]);
    // As the hint says.
    kill(stuck, Signal::SIGKILL).unwrap();
    drop(stopped);
    until("another one takes it up", || server.pid_of("stuck", "web.1") == worker);
    server.good(&["ps"]);
}

#[test]
fn silent_clients_block_no_other_client() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    for socket in ["run/blog/supervisor.sock", "run/daemon.sock"] {
        let path = server.root().join(socket);
        let connect = || UnixStream::connect(&path).unwrap();
        let mut silent: Vec<UnixStream> = (0..500).map(|_| connect()).collect();
        for half in &mut silent[..100] {
            // The server closes the oldest connections when there are too many.
            let _ = half.write_all(b"{\"do\":");
        }
        for garbage in &mut silent[100..200] {
            let _ = garbage.write_all(&[0xff; 8192]);
        }
        // They send a request and never read the reply.
        for asks in &mut silent[200..300] {
            let _ = asks.write_all(b"{\"do\":\"ps\"}\n");
        }
        // A busy machine takes its time for a hundred replies.
        until("others are answered", || server.run(&["ps"]).status.success());
        server.deploy("two", &[("web", SERVE)]);
        drop(silent);
    }
    assert!(descriptors(server.supervisor("blog")) < 60);
    let mut last = UnixStream::connect(server.root().join("run/blog/supervisor.sock")).unwrap();
    last.write_all(b"{\"do\":\"ps\"}\n").unwrap();
    // The supervisor closes the connection after its reply.
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("{\"is\":\"done\",\"error\":null}\n"), "{answer}");
}

#[test]
fn without_free_descriptors_clients_wait_and_no_loop_spins() {
    let server = Server::new();
    server.deploy("one", &[("web", SERVE)]);
    let daemon = server.daemon();
    for (pid, socket) in
        [(server.supervisor("blog"), "run/blog/supervisor.sock"), (daemon, "run/daemon.sock")]
    {
        let limit = |soft: String| {
            let mut prlimit = Command::new("prlimit");
            prlimit.args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")]);
            assert!(prlimit.status().unwrap().success());
        };
        let highest = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let highest = highest.filter_map(|fd| fd.file_name().to_str()?.parse::<u32>().ok()).max().unwrap();
        limit((highest + 1).to_string());
        let path = server.root().join(socket);
        let waiting: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let before = ticks(pid);
        std::thread::sleep(Duration::from_secs(1));
        assert!(ticks(pid) - before < 20, "{} ticks in a second", ticks(pid) - before);
        drop(waiting);
        limit("1024".to_owned());
        server.good(&["ps"]);
    }
    server.deploy("two", &[("web", SERVE)]);
    assert_eq!(server.page(), "two");
}
