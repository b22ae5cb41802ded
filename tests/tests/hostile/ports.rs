//! Apps that want the ports, and with them the visitors, of others.

use std::fmt::Write;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::nginx::{Ports, start_server};
use piku_tests::world::{World, wait_for};

/// Binds each port that its user may, again and again, and tells what it is sent.
const HOG: &str = r#"#!/usr/bin/env python3
import socket, threading, time
first, last = 20000, 29999
def answer(s):
    while True:
        c, _ = s.accept()
        try:
            print("STOLEN", c.recv(1000), flush=True)
            c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nevil\n")
        except OSError: pass
        c.close()
def take(port, beside):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if beside: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try: s.bind(("127.0.0.1", port)); s.listen(5)
    except OSError: return s.close()
    threading.Thread(target=answer, args=(s,), daemon=True).start()
def listening():
    lines = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    return {int(line[1].split(":")[1], 16) for line in lines if line[3] == "0A"}
ports = range(@FIRST@, @LAST@ + 1)
for port in ports: take(port, False)
print("holds what it could get", flush=True)
while True:
    for port in ports: take(port, port in listening())
    time.sleep(0.2)
"#;

/// Lets others listen on its port.
const VICTIM: &str = r#"#!/usr/bin/env python3
import http.server, os, socket
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"victim\n")
    def log_message(self, *args): pass
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

fn pid(world: &World, app: &str) -> Option<Pid> {
    let pid = world.ps(app).first()?["pid"].as_i64()?;
    pid.try_into().ok().map(Pid::from_raw)
}

fn is_healthy(world: &World, app: &str) -> bool {
    world.ps(app).first().is_some_and(|row| row["state"] == "healthy")
}

/// Pushes a victim and somebody who wants its visitors, lets the victim crash, and has others pushed meanwhile.
fn steals_nothing(world: &World, ports: Ports, victim: &str, shared: &str) {
    let program = victim;
    let victim = world.repo("victim");
    victim.program("serve", program).file("Procfile", "web: ./serve\n");
    victim.file("ENV", "NGINX_SERVER_NAME=victim.test\n").commit("Victim").push().succeeds();

    let settings = std::fs::read_to_string(world.root().join("host.yaml")).expect("host.yaml");
    let range = settings.lines().find(|line| line.starts_with("ports:")).expect("ports");
    let numbers: Vec<&str> =
        range.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty()).collect();
    let hog = HOG.replace("@FIRST@", numbers[0]).replace("@LAST@", numbers[1]);
    let evil = world.repo("evil");
    evil.program("hog", hog).file("Procfile", "hog: ./hog\n").commit("Evil").push().succeeds();
    let log = || String::from_utf8_lossy(&world.ssh("laptop", "logs evil").stdout).into_owned();
    wait_for("it holds ports", || log().contains("holds what it could get"));

    let other = world.repo("other");
    other.serves("other\n").file("ENV", "NGINX_SERVER_NAME=other.test\n").commit("Other").push().succeeds();
    assert_eq!(ports.get("other.test", "/").body, "other\n", "{shared}");

    let mut answers = String::new();
    let mut ask = || {
        let request = "GET / HTTP/1.1\r\nHost: victim.test\r\nCookie: secret=1\r\nConnection: close\r\n\r\n";
        let answer = ports.send(request);
        let _ = writeln!(answers, "{} {}", answer.status, answer.body.lines().next().unwrap_or_default());
        answer.body
    };
    for _ in 0..2 {
        wait_for("the victim is up", || is_healthy(world, "victim"));
        let old = pid(world, "victim").expect("its process");
        kill(old, Signal::SIGKILL).expect("it is killed");
        wait_for("the victim is back", || {
            ask();
            pid(world, "victim").is_some_and(|new| new != old) && is_healthy(world, "victim")
        });
    }
    wait_for("its visitors reach it again", || ask() == "victim\n");
    for _ in 0..20 {
        ask();
    }
    assert!(!answers.contains("evil"), "{shared}: {answers}");
    assert!(!log().contains("secret="), "{shared}: {}", log());
}

#[test]
fn crashed_app_loses_its_port_to_nobody() {
    let (world, ports) = start_server("");
    steals_nothing(&world, ports, VICTIM, "each in its jail");
}

#[test]
fn hostile_ports_without_landlock() {
    let (world, ports) = served_without_jail();
    // One that lets others listen beside it loses requests until piku has found out.
    let alone = VICTIM.replace("SO_REUSEPORT", "SO_REUSEADDR");
    steals_nothing(&world, ports, &alone, "without jails");
}

/// A world of apps that the kernel lets bind what they will.
fn served_without_jail() -> (World, Ports) {
    let ports = Ports::free();
    let mut world = World::with_settings(&format!("{}sandbox: off\n", ports.settings("")));
    world.start_nginx();
    (world, ports)
}
