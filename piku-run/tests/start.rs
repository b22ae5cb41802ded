//! `piku-run start`, the foreman, in a directory without a piku root.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Creates a directory with this Procfile.
fn folder(procfile: &str) -> TempDir {
    let dir = tempfile::Builder::new().prefix("piku-start-").tempdir().unwrap();
    fs::write(dir.path().join("Procfile"), procfile).unwrap();
    dir
}

fn start(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_piku-run"));
    command.arg("start").arg(dir.path()).args(args).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A running foreman; dropping it ends it.
struct Running(Option<Child>, TempDir);

impl Running {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.as_ref().unwrap().id().try_into().unwrap()), signal).unwrap();
    }

    fn end(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }

    /// Waits for this many lines in a file that the processes write; returns the text.
    #[track_caller]
    fn until(&self, name: &str, lines: usize) -> String {
        let begin = Instant::now();
        loop {
            let text = fs::read_to_string(self.1.path().join(name)).unwrap_or_default();
            if text.lines().count() >= lines {
                return text;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "waited for {lines} lines in {name}: {text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            self.0 = None;
            let _ = kill(Pid::from_raw(child.id().try_into().unwrap_or(0)), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

#[test]
fn all_run_with_their_ports_and_one_log() {
    let dir = folder("web: echo port $PORT $A; exec sleep 0.5\nworker: echo $PS $PORT; exec sleep 1000\n");
    fs::write(dir.path().join("ENV"), "A=\"from ENV\"\n").unwrap();
    let out = start(&dir, &["-m", "web=1,worker=2"]).output().unwrap();
    let said = text(&out);
    assert_eq!(out.status.code(), Some(0), "{said}");
    for line in
        [" web.1    | port 5000 from ENV\n", " worker.1 | worker.1 5100\n", " worker.2 | worker.2 5101\n"]
    {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
    assert!(!said.contains('\u{1b}'), "no colour where there is no terminal");
}

#[test]
fn the_first_failure_ends_all_processes_and_sets_the_exit_code() {
    let dir = folder("a: sleep 0.3; exit 7\nb: trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done\n");
    let out = start(&dir, &[]).output().unwrap();
    let said = text(&out);
    assert_eq!(out.status.code(), Some(7), "{said}");
    assert!(said.contains("b.1    | bye\n") && said.contains("a.1 exited with code 7"), "{said}");
    let out = start(&folder("a: nosuchprogram\n"), &[]).output().unwrap();
    assert_eq!(out.status.code(), Some(127), "{}", text(&out));
}

#[test]
fn ctrl_c_stops_all_processes_and_their_descendants() {
    let dir =
        folder("a: echo $$ >>pids; setsid sh -c 'echo $$ >>pids; exec sleep 1000' & sleep 1000; true\n");
    let foreman = Running(Some(start(&dir, &["--timeout", "1"]).spawn().unwrap()), dir);
    let pids = foreman.until("pids", 2);
    foreman.signal(Signal::SIGINT);
    let out = foreman.end();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    for pid in pids.lines() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let dir = folder("a: trap 'echo told >told' TERM; echo up >up; while :; do sleep 0.05; done\n");
    let foreman = Running(Some(start(&dir, &["--timeout", "1000"]).spawn().unwrap()), dir);
    foreman.until("up", 1);
    foreman.signal(Signal::SIGINT);
    // Two signals that wait at the same time are one.
    foreman.until("told", 1);
    foreman.signal(Signal::SIGINT);
    foreman.end();
}

#[test]
fn env_files_of_other_foremen_are_read() {
    let dir = folder("web: echo $PORT $A $B $C\nworker: echo $PS $PORT\n");
    fs::write(dir.path().join("ENV"), "A=shipped\nB=shipped\nPORT=4000\n").unwrap();
    fs::write(dir.path().join(".env"), "# mine\nexport B='my own' # yes\nC=\"$A x\"\nPORT=7100\n").unwrap();
    let said = text(&start(&dir, &[]).output().unwrap());
    assert!(said.contains("| 7100 shipped my own shipped x\n"), "{said}");
    assert!(said.contains("| worker.1 7200\n"), "{said}");
    assert!(text(&start(&dir, &["-p", "7300"]).output().unwrap()).contains("| 7300 shipped"));

    // Named files are read instead, the later one after the earlier one.
    let named = [dir.path().join("one"), dir.path().join("two")];
    fs::write(&named[0], "A=one\nB=one\n").unwrap();
    fs::write(&named[1], "B=two\n").unwrap();
    let files = format!("{},{}", named[0].display(), named[1].display());
    let out = start(&dir, &["--env", &files]).env("PORT", "7400").output().unwrap();
    assert!(text(&out).contains("| 7400 one two\n"), "{}", text(&out));
    let out = start(&dir, &["--env", "/nowhere/x"]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("cannot read '/nowhere/x'"), "{}", text(&out));
    fs::write(dir.path().join(".env"), "PORT=http\n").unwrap();
    let out = start(&dir, &[]).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out).contains("'http' is not a port"), "{}", text(&out));
}

#[test]
fn bad_input_is_reported_before_anything_runs() {
    let dir = folder("web: touch ran\nrelease: touch ran\n");
    for (args, code, expected) in [
        (&["-m", "wep=1"][..], 2, "the Procfile has no process type 'wep'"),
        (&["-m", "web=0"], 1, "there is nothing to run"),
        (&["-p", "65535", "-m", "web=2"], 2, "the last instance's PORT would be 65536"),
        (&["-f", "/nonexistent"], 1, "/nonexistent"),
        (&["-e", "/nonexistent"], 1, "cannot read '/nonexistent'"),
    ] {
        let out = start(&dir, args).output().unwrap();
        assert_eq!(out.status.code(), Some(code), "{}", text(&out));
        assert!(text(&out).contains(expected), "{}", text(&out));
    }
    fs::write(dir.path().join("ENV"), "A = 1\n").unwrap();
    let out = start(&dir, &[]).output().unwrap();
    assert!(text(&out).contains("ENV:1"), "{}", text(&out));
    assert!(!dir.path().join("ran").exists());
}

#[test]
fn a_taken_port_is_reported() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let out = start(&folder("web: true\n"), &["-p", &port]).output().unwrap();
    assert!(text(&out).contains(&format!("PORT {port} is not free")), "{}", text(&out));
}

#[test]
fn release_tasks_and_cron_jobs_run_only_on_request() {
    let dir =
        folder("web: exit 0\nrelease: echo migrating; exit 4\ncron_a: @daily echo nightly\nstatic: public\n");
    let said = text(&start(&dir, &[]).output().unwrap());
    for line in [
        "release is not started: it runs before each release goes live; once and now: -m release=1\n",
        "cron_a is not started: it runs at its times; once and now: -m cron_a=1\n",
    ] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
    assert!(!said.contains("migrating") && !said.contains("static"), "{said}");
    let out = start(&dir, &["-m", "release=1"]).output().unwrap();
    assert!(text(&out).contains("| migrating\n"), "{}", text(&out));
    assert_eq!(out.status.code(), Some(4));
    let out = start(&dir, &["-m", "cron_a=1"]).output().unwrap();
    assert!(text(&out).contains("| nightly\n"), "{}", text(&out));
    assert_eq!(out.status.code(), Some(0));
}

/// Returns a foreman on a terminal made by script(1).
fn on_terminal(dir: &TempDir, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new("script");
    let line = format!("exec '{}' start '{}'", env!("CARGO_BIN_EXE_piku-run"), dir.path().display());
    command.args(["-qec", &line, "/dev/null"]).env_clear().envs(variables.iter().copied());
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[test]
fn a_terminal_gets_colours_unless_no_color_is_set_and_ctrl_c_stops_all() {
    for (variables, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let dir = folder("a: trap 'echo bye; exit 0' TERM; echo up >>up; while :; do sleep 0.05; done\n");
        let mut child = on_terminal(&dir, variables).spawn().unwrap();
        let mut keys = child.stdin.take().unwrap();
        let running = Running(Some(child), dir);
        running.until("up", 1);
        keys.write_all(b"\x03").unwrap();
        let out = running.end();
        let said = text(&out);
        assert_eq!(out.status.code(), Some(0), "{said}");
        assert!(said.contains("SIGINT, stopping all") && said.contains("bye"), "{said}");
        assert_eq!(said.contains("\u{1b}[36m"), coloured, "{said}");
    }
}
