//! Redeploys, rollbacks, scalings and a kill -9 of those in charge, under load that never pauses, over a real nginx: no request
//! fails. `PIKU_ROUNDS` is the number of redeploys; 20 are what the project promises.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use nix::sys::signal::Signal;
use piku_tests::nginx::Ports;
use piku_tests::processes::{self, kill_all};
use piku_tests::world::{World, wait_for};

/// Answers `/` with the page, `/slow` with half a megabyte over some seconds. SIGTERM ends it at once: whoever sends requests to
/// it after that, or too early, loses them.
const APP: &str = r#"#!/usr/bin/python3
import http.server, os, socketserver, time
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            self.send_response(200)
            self.send_header("Content-Length", str(64 * 8192))
            self.end_headers()
            for _ in range(64):
                self.wfile.write(b"x" * 8192)
                self.wfile.flush()
                time.sleep(float(open("/data/pace").read()))
            return
        body = open("page", "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;

const HOST: &str = "blog.test";

/// Clients that ask again and again.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(ports: Ports) -> Self {
        let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..4)
            .map(|number| {
                let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
                // Two keep their connections, two make a new one each time.
                spawn(move || client(ports, number % 2 == 0, &stop, &good))
            })
            .collect();
        Self { stop, good, clients }
    }

    fn good(&self) -> usize {
        self.good.load(Ordering::SeqCst)
    }

    /// Returns the number of answers, and the errors.
    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let failed = self.clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        (self.good.load(Ordering::SeqCst), failed)
    }
}

fn client(ports: Ports, keep: bool, stop: &AtomicBool, good: &AtomicUsize) -> Vec<String> {
    let mut failed = Vec::new();
    let mut kept: Option<BufReader<TcpStream>> = None;
    while !stop.load(Ordering::SeqCst) {
        let is_used = kept.is_some();
        let mut stream = match kept.take().map_or_else(|| connect(ports), Ok) {
            Ok(stream) => stream,
            Err(err) => {
                failed.push(format!("cannot connect: {err}"));
                continue;
            }
        };
        match ask(&mut stream, keep) {
            Ok(true) => kept = Some(stream),
            Ok(false) => {}
            // A server may close a connection that it has kept while the next request is on its way; every client sends it
            // once more then (RFC 9112, 9.3.1).
            Err(Broken::BeforeAnyByte(_)) if is_used => continue,
            Err(Broken::BeforeAnyByte(why) | Broken::Later(why)) => {
                failed.push(why);
                continue;
            }
        }
        good.fetch_add(1, Ordering::SeqCst);
        // The machine has other things to do as well.
        sleep(Duration::from_millis(4));
    }
    failed
}

fn connect(ports: Ports) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", ports.http))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(BufReader::new(stream))
}

enum Broken {
    BeforeAnyByte(String),
    Later(String),
}

/// Asks once; whether the connection stays.
fn ask(stream: &mut BufReader<TcpStream>, keep: bool) -> Result<bool, Broken> {
    let before = |err: std::io::Error| Broken::BeforeAnyByte(format!("no answer: {err}"));
    let later = |err: std::io::Error| Broken::Later(format!("half an answer: {err}"));
    let connection = if keep { "keep-alive" } else { "close" };
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: {connection}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).map_err(before)?;
    let mut line = String::new();
    if stream.read_line(&mut line).map_err(before)? == 0 {
        return Err(Broken::BeforeAnyByte("closed without an answer".to_owned()));
    }
    let status = line.trim().to_owned();
    let (mut length, mut stays) = (0, keep);
    loop {
        line.clear();
        stream.read_line(&mut line).map_err(later)?;
        let (name, value) = line.trim().split_once(": ").unwrap_or((line.trim(), ""));
        match name.to_ascii_lowercase().as_str() {
            "" => break,
            "content-length" => length = value.parse().unwrap_or(0),
            "connection" => stays &= value != "close",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(later)?;
    if !status.contains(" 200 ") || !body.starts_with(b"page ") {
        return Err(Broken::Later(format!("{status}: {}", String::from_utf8_lossy(&body))));
    }
    Ok(stays)
}

/// The length of the download, and how it ended.
fn download(ports: Ports) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(("127.0.0.1", ports.http))?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    write!(stream, "GET /slow HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let head = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    Ok(all.len() - head - 4)
}

#[test]
fn no_request_fails_under_load() {
    let rounds: usize = std::env::var("PIKU_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let others = rounds.div_ceil(4);
    let ports = Ports::free();
    let mut world = World::with_settings(&ports.settings(", drain: 60"));
    world.start_nginx();
    let repo = world.repo("blog");
    repo.file("Procfile", "web: ./serve\n").program("serve", APP).file("page", "page 0\n");
    repo.file("ENV", format!("NGINX_SERVER_NAME={HOST}\n")).commit("First").push().succeeds();
    std::fs::write(world.app("blog").join("data/pace"), "0.2").expect("the pace");

    let load = Load::start(ports);
    // Some 13 seconds: over several releases.
    let slow = spawn(move || download(ports));
    let calls = |count: usize, what: &dyn Fn(usize)| {
        for number in 1..=count {
            let before = load.good();
            what(number);
            wait_for("answers in each round", || load.good() > before + 20);
        }
    };
    let verb = |words: &str| {
        let out = world.ssh("laptop", words);
        assert!(out.status.success(), "{words}: {out:?}");
    };
    calls(rounds, &|number| {
        repo.file("page", format!("page {number}\n")).commit("Again").push().succeeds();
        assert_eq!(ports.get(HOST, "/").body, format!("page {number}\n"), "the new release, at once");
    });
    calls(others, &|_| verb("rollback blog"));
    calls(others, &|number| verb(&format!("ps:scale blog web={}", 1 + number % 3)));
    verb("restart blog");

    // The daemon and the supervisor at once, while a deploy is under way.
    repo.file("page", "page of nobody\n").commit("Under way");
    let push = repo.start_push();
    let before = load.good();
    wait_for("the deploy's first instance", || {
        processes::find(&world.path(""), " supervise ").len() == 1 && load.good() > before + 50
    });
    world.end_daemon(Signal::SIGKILL);
    kill_all(&processes::find(&world.path(""), " supervise "));
    let before = load.good();
    wait_for("answers with nobody in charge", || load.good() > before + 100);
    world.start_daemon();
    // It was killed at any instant: either release may be live, and both serve.
    push.wait_with_output().expect("git push");
    repo.file("page", "page again\n").commit("After").push().succeeds();
    assert_eq!(ports.get(HOST, "/").body, "page again\n");

    let length = slow.join().expect("the download").expect("its whole answer");
    assert_eq!(length, 64 * 8192, "a download that began in the first release");
    let (good, failed) = load.end();
    let _ = writeln!(
        std::io::stderr(),
        "{rounds} redeploys, {others} rollbacks, {others} scalings: {good} answers"
    );
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), good + failed.len());
    wait_for("the end of all that was replaced", || {
        world.ps("blog").iter().all(|row| row["state"] == "healthy")
    });
}
