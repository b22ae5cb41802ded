//! A piku root in a temporary directory with its own daemon, and releases made by hand. Dropping it ends all
//! processes that it started, also if the test fails.

#![allow(dead_code, reason = "each of the test programs uses another part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::tools::chroot;
use tempfile::TempDir;

/// Limit for every wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// A web server that answers with the file `page` and the status in STATUS.
const SERVER: &str = r#"
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open("page").read().encode()
        self.send_response(int(os.environ.get("STATUS", "200")))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ["PORT"])
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
print("serving at", port, flush=True)
server.serve_forever()
"#;

/// Command that runs [`SERVER`].
pub(crate) const SERVE: &str = "python3 serve.py";

/// A piku root with its daemon.
pub(crate) struct Server {
    dir: TempDir,
    daemon: Option<Child>,
    jailed: bool,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with_jail(false)
    }

    /// Like [`Server::new`], with releases that need the jail. Returns `None`, and prints why, if jails
    /// cannot be made.
    pub(crate) fn in_jail() -> Option<Self> {
        has_jail().then(|| Self::with_jail(true))
    }

    fn with_jail(jailed: bool) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let dir = tempfile::Builder::new().prefix("piku-run-").tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        // Fifty ports per test, most likely unused.
        let block = (std::process::id() % 40) as u16 * 5 + NEXT.fetch_add(1, Ordering::Relaxed) % 40;
        let first = 20000 + block % 200 * 50;
        fs::write(
            dir.path().join("root/host.yaml"),
            format!("ports: {{first: {first}, last: {}}}\n", first + 49),
        )
        .unwrap();
        let mut server = Self { dir, daemon: None, jailed };
        server.start_daemon();
        server
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub(crate) fn app(&self, below: &str) -> PathBuf {
        self.root().join("apps/blog").join(below)
    }

    /// Returns `piku-run` with this root and an otherwise clean environment.
    pub(crate) fn tool(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piku-run"));
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("PIKU_ROOT", self.root())
            .env("PIKU_CHROOT", chroot().unwrap_or(Path::new("/nonexistent")))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn start_daemon(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let socket = self.root().join("run/daemon.sock");
        let _ = fs::remove_file(&socket);
        let mut daemon = self.tool(&["daemon"]);
        daemon.stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(daemon.spawn().unwrap());
        // The file is there a moment before the daemon listens.
        until("the daemon", || UnixStream::connect(&socket).is_ok());
    }

    /// Sends the daemon a signal and waits until it has ended.
    pub(crate) fn end_daemon(&mut self, signal: Signal) {
        let mut daemon = self.daemon.take().expect("a daemon");
        kill(Pid::from_raw(daemon.id().try_into().unwrap()), signal).unwrap();
        daemon.wait().unwrap();
    }

    /// Returns the pid of the app's supervisor.
    pub(crate) fn supervisor(&self, app: &str) -> Pid {
        let path = self.root().join("run").join(app).join("supervisor.lock");
        Pid::from_raw(fs::read_to_string(path).unwrap().trim().parse().unwrap())
    }

    /// Kills the app's supervisor and waits for its successor.
    pub(crate) fn replace_supervisor(&self, app: &str) {
        let old = self.supervisor(app);
        kill(old, Signal::SIGKILL).unwrap();
        let path = self.root().join("run").join(app).join("supervisor.lock");
        let new = || fs::read_to_string(&path).ok()?.trim().parse().ok().map(Pid::from_raw);
        until("a new supervisor", || new().is_some_and(|new| new != old));
    }

    /// Writes a release of `blog` as piku-build would; its page is `page`.
    pub(crate) fn release(&self, page: &str, processes: &[(&str, &str)]) -> PathBuf {
        self.release_of("blog", page, processes)
    }

    pub(crate) fn release_of(&self, app: &str, page: &str, processes: &[(&str, &str)]) -> PathBuf {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let work = self.root().join("apps").join(app);
        fs::create_dir_all(&work).unwrap();
        let dir = work.join(format!("deploy.{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(dir.join("app")).unwrap();
        fs::write(dir.join("app/page"), page).unwrap();
        fs::write(dir.join("app/serve.py"), SERVER).unwrap();
        let release = serde_json::json!({
            "app": app,
            "number": 0,
            "commit": "0123456789012345678901234567890123456789",
            "at": "2026-01-01T00:00:00Z",
            "architecture": nix::sys::utsname::uname().unwrap().machine().to_str().unwrap(),
            "runtime": "binary",
            "processes": processes.iter().map(|(name, line)| ((*name).to_owned(), (*line).into())).collect::<serde_json::Map<_, _>>(),
            "jailed": self.jailed,
        });
        // JSON is YAML.
        fs::write(dir.join("release.yaml"), release.to_string()).unwrap();
        dir
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.tool(args).output().unwrap()
    }

    /// Runs the tool, which must succeed; returns its stdout and stderr.
    #[track_caller]
    pub(crate) fn good(&self, args: &[&str]) -> (String, String) {
        let out = self.run(args);
        let (stdout, stderr) = texts(&out);
        assert!(out.status.success(), "{args:?}: {}\n{stderr}\n{}", out.status, self.story());
        (stdout, stderr)
    }

    /// Runs the tool, which must fail with this code; returns its stderr.
    #[track_caller]
    pub(crate) fn bad(&self, code: i32, args: &[&str]) -> String {
        let out = self.run(args);
        let (_, stderr) = texts(&out);
        assert_eq!(out.status.code(), Some(code), "{args:?}\n{stderr}\n{}", self.story());
        stderr
    }

    /// Deploys a release with this page; returns the progress output.
    #[track_caller]
    pub(crate) fn deploy(&self, page: &str, processes: &[(&str, &str)]) -> String {
        let dir = self.release(page, processes);
        self.good(&["deploy", "blog", dir.to_str().unwrap()]).1
    }

    /// Deploys a release, which must fail; returns the progress output.
    #[track_caller]
    pub(crate) fn deploy_fails(&self, page: &str, processes: &[(&str, &str)]) -> String {
        let dir = self.release(page, processes);
        let said = self.bad(1, &["deploy", "blog", dir.to_str().unwrap()]);
        assert!(!dir.exists(), "the release is gone");
        said
    }

    /// Stores the app's config. Tests use it for settings that an app would ship in ENV, because there is no
    /// build.
    pub(crate) fn config(&self, pairs: &[(&str, &str)]) {
        let map: serde_json::Map<_, _> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        fs::create_dir_all(self.app("")).unwrap();
        fs::write(self.app("config.json"), serde_json::to_vec(&map).unwrap()).unwrap();
    }

    #[track_caller]
    pub(crate) fn ps(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.good(&["ps", "blog", "--format", "json"]).0).unwrap()
    }

    /// Returns the instances with their states, such as `web.1 healthy`.
    #[track_caller]
    pub(crate) fn states(&self) -> Vec<String> {
        let word = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
        self.ps().iter().map(|row| format!("{} {}", word(row, "instance"), word(row, "state"))).collect()
    }

    #[track_caller]
    pub(crate) fn row(&self, instance: &str) -> serde_json::Value {
        let ps = self.ps();
        let row = ps.iter().find(|row| row["instance"] == instance);
        row.unwrap_or_else(|| panic!("no {instance} in {ps:#?}")).clone()
    }

    #[track_caller]
    pub(crate) fn pid(&self, instance: &str) -> Pid {
        let row = self.row(instance);
        Pid::from_raw(row["pid"].as_i64().unwrap_or_else(|| panic!("{row}")).try_into().unwrap())
    }

    /// Returns the pid of an instance of any app.
    #[track_caller]
    pub(crate) fn pid_of(&self, app: &str, instance: &str) -> Pid {
        let ps: Vec<serde_json::Value> =
            serde_json::from_str(&self.good(&["ps", app, "--format", "json"]).0).unwrap();
        let row = ps.iter().find(|row| row["instance"] == instance).unwrap_or_else(|| panic!("{ps:#?}"));
        Pid::from_raw(row["pid"].as_i64().unwrap_or_else(|| panic!("{row}")).try_into().unwrap())
    }

    pub(crate) fn daemon(&self) -> Pid {
        Pid::from_raw(self.daemon.as_ref().expect("a daemon").id().try_into().unwrap())
    }

    #[track_caller]
    pub(crate) fn port(&self) -> u16 {
        self.row("web.1")["port"].as_u64().unwrap().try_into().unwrap()
    }

    /// Requests the app's page.
    #[track_caller]
    pub(crate) fn page(&self) -> String {
        get(self.port()).unwrap_or_else(|err| panic!("blog does not answer: {err}\n{}", self.story()))
    }

    pub(crate) fn releases(&self) -> Vec<String> {
        // The daemon removes old ones in the background.
        names(&self.app("releases")).into_iter().filter(|name| !name.as_bytes().ends_with(b".gone")).collect()
    }

    pub(crate) fn log(&self, instance: &str) -> String {
        fs::read_to_string(self.app("log").join(format!("{instance}.log"))).unwrap_or_default()
    }

    pub(crate) fn story(&self) -> String {
        format!("--- daemon.log\n{}", fs::read_to_string(self.path("daemon.log")).unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = self.tool(&["stop", "--all"]).output();
            let _ = kill(Pid::from_raw(daemon.id().try_into().unwrap_or(0)), Signal::SIGTERM);
            let _ = daemon.wait();
        }
        // Processes that the test left: they have this directory in their environment, command line or
        // working directory.
        let mark = self.dir.path().as_os_str().as_encoded_bytes().to_vec();
        for _ in 0..100 {
            let left = mentioning(&mark);
            if left.is_empty() {
                break;
            }
            for pid in left {
                let _ = kill(pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Finds the processes whose environment, command line or working directory contains these bytes.
pub(crate) fn mentioning(mark: &[u8]) -> Vec<Pid> {
    let own = Pid::this();
    let holds = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw)
        else {
            continue;
        };
        let dir = entry.path();
        let folder = fs::read_link(dir.join("cwd")).unwrap_or_default();
        let texts = ["environ", "cmdline"].map(|file| fs::read(dir.join(file)).unwrap_or_default());
        if pid != own
            && (texts.iter().any(|text| holds(text)) || holds(folder.as_os_str().as_encoded_bytes()))
        {
            found.push(pid);
        }
    }
    found
}

pub(crate) fn texts(out: &Output) -> (String, String) {
    (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Requests / at a local port; returns the body.
pub(crate) fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no answer"))?;
    Ok(body.to_owned())
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

pub(crate) fn is_alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns true if jails can be made here; otherwise prints that the test is skipped.
pub(crate) fn has_jail() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let works = chroot().is_some_and(|program| {
            let mut jail = Command::new(program);
            jail.args(["--root-from-host", "--", "true"])
                .stdin(Stdio::null())
                .output()
                .is_ok_and(|out| out.status.success())
        });
        if !works {
            let _ = writeln!(std::io::stderr(), "SKIPPED: instances in a jail: cannot make a jail here");
            assert!(std::env::var_os("CI").is_none(), "with CI set nothing may be skipped");
        }
        works
    })
}
