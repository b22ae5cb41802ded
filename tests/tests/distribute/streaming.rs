//! Long connections through a front while the machines behind it deploy one after the other, and a machine that
//! accepts connections and answers none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::processes;
use piku_tests::repo::{Push, Repo};
use piku_tests::scene::Scene;
use piku_tests::world::{wait_for, wait_long};

use super::front::{self, Load, push, state};

/// Serves events without end, echoes what it gets after an upgrade, and counts the bytes of an upload.
const APP: &str = r#"
import http.server, os, time

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def start(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
    def do_GET(self):
        if self.path == "/events":
            self.close_connection = True
            self.start(200, {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "Connection": "close"})
            while True:
                self.wfile.write(b"data: tick\n\n")
                time.sleep(0.2)
        elif self.path == "/echo":
            self.close_connection = True
            self.start(101, {"Upgrade": "websocket", "Connection": "Upgrade"})
            while (byte := self.rfile.read(1)):
                self.wfile.write(byte)
        else:
            self.answer(open("page").read())
    def do_POST(self):
        left = length = int(self.headers["Content-Length"])
        while left > 0 and (part := self.rfile.read(min(left, 65536))):
            left -= len(part)
        self.answer("got %d bytes" % (length - left))
    def answer(self, text):
        self.start(200, {"Content-Length": str(len(text))})
        self.wfile.write(text.encode())
    def log_message(self, *words):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

Server((os.environ["BIND_ADDRESS"], int(os.environ["PORT"])), Page).serve_forever()
"#;

/// Bytes of the upload, more than all buffers on its way have.
const UPLOAD: usize = 16 << 20;
/// Bytes of it that are sent at a time.
const PIECE: usize = 256 << 10;
/// Time for a response, in seconds, and for which connections survive a deploy: a push takes minutes on a busy machine.
const PATIENCE: u64 = 600;

/// Opens a connection to the front and sends the head of a request.
fn open(scene: &Scene, head: &str) -> BufReader<TcpStream> {
    let mut stream =
        scene.lan.on(0, || TcpStream::connect(("127.0.0.1", Scene::HTTP_PORT))).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(PATIENCE))).expect("a timeout");
    let request = format!("{head} HTTP/1.1\r\nHost: blog.example.org\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    BufReader::new(stream)
}

/// Reads the head of a response, and returns its first line.
fn read_head(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line of the head");
        line.trim_end().to_owned()
    };
    let first = line();
    while !line().is_empty() {}
    first
}

/// Sends the upload slowly until `may_end` is set, and then the rest. Returns the response.
fn upload(mut stream: BufReader<TcpStream>, may_end: &AtomicBool) -> String {
    let piece = vec![b'x'; PIECE];
    let mut left = UPLOAD;
    while left > 0 {
        // The last piece waits.
        if !may_end.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
            if left == PIECE {
                continue;
            }
        }
        stream.get_mut().write_all(&piece).expect("a piece");
        left -= PIECE;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Sets all of them when it is dropped, also by a panic: threads wait for them.
struct SetAtEnd<'a>([&'a AtomicBool; 2]);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }
}

/// Stopped processes, which go on when it is dropped, also by a panic: others wait for them.
struct StoppedProcesses(Vec<i32>);

impl StoppedProcesses {
    fn stop(pids: Vec<i32>) -> Self {
        let stopped = Self(pids);
        stopped.send(Signal::SIGSTOP);
        stopped
    }

    fn send(&self, signal: Signal) {
        for pid in &self.0 {
            // It may have ended.
            let _ = kill(Pid::from_raw(*pid), signal);
        }
    }
}

impl Drop for StoppedProcesses {
    fn drop(&mut self) {
        self.send(Signal::SIGCONT);
    }
}

/// Starts a front for an app on two machines.
fn start_front(app: &str) -> Option<(Scene, Repo)> {
    let mut scene = Scene::new()?;
    scene.start_nginx_with(&format!(", drain: {PATIENCE}"));
    let front = format!("front: {{port: {}}}", Scene::HTTP_PORT);
    scene.deploy_to(&format!("here: false, patience: 60, skip_down: true, {front}"));
    let repo = scene.builder.repo("blog");
    let env = format!("NGINX_SERVER_NAME=blog.example.org\nNGINX_CLIENT_BODY_TIMEOUT={PATIENCE}\n");
    repo.file("Procfile", "web: python app.py\n").file("ENV", env).file("app.py", app);
    push(&scene, &repo, "one");
    for at in [0, 1] {
        wait_for("both machines", || state(&scene, at) == "up");
    }
    Some((scene, repo))
}

#[test]
fn long_connections_survive_a_rolling_deploy() {
    let Some((scene, repo)) = start_front(APP) else { return };
    let mut echo = open(&scene, "GET /echo");
    echo.get_mut().write_all(b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n").expect("an upgrade");
    assert_eq!(read_head(&mut echo), "HTTP/1.1 101 Switching Protocols");
    let mut ask = |text: &str| {
        echo.get_mut().write_all(text.as_bytes()).expect("words");
        let mut answer = vec![0; text.len()];
        echo.read_exact(&mut answer).expect("the echo");
        assert_eq!(answer, text.as_bytes());
    };
    ask("before");
    let mut events = open(&scene, "GET /events");
    events.get_mut().write_all(b"\r\n").expect("the end of the head");
    assert_eq!(read_head(&mut events), "HTTP/1.1 200 OK");
    let (ends, may_end) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut post = open(&scene, "POST /upload");
    let head = format!("Content-Length: {UPLOAD}\r\nConnection: close\r\n\r\n");
    post.get_mut().write_all(head.as_bytes()).expect("the end of the head");
    let load = Load::start(&scene.lan);
    thread::scope(|scope| {
        let upload = scope.spawn(|| upload(post, &may_end));
        let ticks = scope.spawn(|| {
            // Each line comes within the time of the socket.
            let lines = events.by_ref().lines().map(|line| line.expect("an event"));
            lines.take_while(|_| !ends.load(Ordering::Relaxed)).filter(|line| line == "data: tick").count()
        });
        let at_end = SetAtEnd([&ends, &may_end]);
        repo.file("page", "two").commit("Two");
        let running = scene.lan.on(0, || repo.start_push());
        for at in [0, 1] {
            wait_long("the deploy there", || state(&scene, at) == "draining");
            ask("during");
            // Whatever else is changed at the front.
            let master = processes::find(&scene.builder.root(), "nginx: master");
            assert_eq!(master.len(), 1, "{master:?}");
            kill(Pid::from_raw(master[0]), Signal::SIGHUP).expect("a reload");
        }
        Push::from(running.wait_with_output().expect("git push")).succeeds();
        ask("after");
        drop(at_end);
        let ticks = ticks.join().expect("the events");
        assert!(ticks > 10, "{ticks}");
        let answer = upload.join().expect("the upload");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with(&format!("got {UPLOAD} bytes")),
            "{answer}"
        );
    });
    load.end("deploys beside long connections");
    scene.end();
}

#[test]
fn a_machine_that_hangs_is_left_out() {
    let Some((scene, _)) = start_front(front::APP) else { return };
    // Its kernel accepts connections, and nothing answers them.
    let load = Load::start(&scene.lan);
    let master = processes::find(&scene.runners[1].root(), "nginx: master");
    let hung: Vec<i32> = master.iter().flat_map(|pid| processes::children(*pid)).collect();
    assert!(!hung.is_empty());
    let stopped = StoppedProcesses::stop(hung);
    wait_for("the machine to be left out", || state(&scene, 1) == "down");
    // Requests that it has accepted are answered by the other one before it goes on.
    load.wait_for_answers(20);
    load.end("a machine that hangs");
    drop(stopped);
    wait_for("its return", || state(&scene, 1) == "up");
    scene.end();
}
