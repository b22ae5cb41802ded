//! A folder of its own for a test, a user, and the program run there.

use std::borrow::BorrowMut;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use piku_tests::snapshot::{IntoData, assert_redacted};
use tempfile::TempDir;

/// Nobody's uid and gid on every Linux.
pub(crate) const NOBODY: u32 = 65534;
/// Time after which a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user that runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// The user that runs the tests.
    Own,
    /// As root: somebody without rights.
    Nobody,
}

/// Everybody that a test has to be run as.
pub(crate) fn users() -> Vec<User> {
    if geteuid().is_root() { vec![User::Own, User::Nobody] } else { vec![User::Own] }
}

/// Folder, user and program of a test.
pub(crate) struct Scene {
    folder: TempDir,
    user: User,
    program: PathBuf,
}

/// Exit code and output of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    /// piku-chroot itself failed, with exactly this error.
    #[track_caller]
    pub(crate) fn refused(&self, snapshot: impl IntoData) {
        assert_eq!(self.code, Some(125), "{self:#?}");
        assert_redacted(&self.err, &[], snapshot);
    }
}

/// By a process of its own: a file that this one had open for writing could be inherited, still open, by what
/// another test starts at the same moment, and a program that somebody has open for writing cannot be started
/// (ETXTBSY).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

impl Scene {
    pub(crate) fn new(user: User) -> Self {
        let folder = tempfile::Builder::new().prefix("piku-chroot-").tempdir().unwrap();
        let mut scene = Self { folder, user, program: env!("CARGO_BIN_EXE_piku-chroot").into() };
        scene.give(&scene.path(""));
        if user == User::Nobody && !reachable() {
            scene.program = scene.path("piku-chroot");
            copy_program(env!("CARGO_BIN_EXE_piku-chroot").as_ref(), &scene.program);
        }
        scene
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder that belongs to the user.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        self.give(&path);
        path
    }

    /// A file that belongs to the user.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        self.give(&path);
        path
    }

    fn give(&self, path: &Path) {
        if self.user == User::Nobody {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Gives a program to the user, executable.
    pub(crate) fn owns(&self, program: &Path) {
        self.give(program);
        fs::set_permissions(program, Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns the user that runs the program.
    pub(crate) fn user(&self) -> User {
        self.user
    }

    /// Returns the path of the program for this user.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Any program, as the user, with a small environment of its own.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.current_dir(self.folder.path());
        if self.user == User::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// piku-chroot with these options; the command is still to be added.
    pub(crate) fn jail(&self, options: &[&str]) -> Command {
        let mut command = self.command(&self.program);
        command.args(options);
        command
    }

    /// A shell script in a jail with the host's programs.
    pub(crate) fn sh(&self, options: &[&str], script: &str) -> Outcome {
        let mut command = self.jail(&["--root-from-host"]);
        run(command.args(options).args(["--", "sh", "-c", script]))
    }

    /// The same; it must end well and say nothing on stderr. Returns what it printed.
    pub(crate) fn ok(&self, options: &[&str], script: &str) -> String {
        let outcome = self.sh(options, script);
        assert!(outcome.code == Some(0) && outcome.err.is_empty(), "{:?} {script}: {outcome:#?}", self.user);
        outcome.out
    }
}

/// Returns whether a user without rights can run the program where it was built.
fn reachable() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piku-chroot"));
        command.arg("--version").stdout(Stdio::null()).uid(NOBODY).gid(NOBODY);
        command.status().is_ok_and(|status| status.success())
    })
}

/// Runs to the end.
pub(crate) fn run(mut command: impl BorrowMut<Command>) -> Outcome {
    let mut running = Running::start(command.borrow_mut().stdin(Stdio::null()));
    let mut err = running.child.stderr.take().unwrap();
    let err = thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).map(|_| text)
    });
    let mut out = String::new();
    running.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let status = running.wait();
    Outcome { code: status.code(), out, err: err.join().unwrap().unwrap() }
}

/// A process that is killed when the test is over, however that comes.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    /// Starts it with its output in pipes.
    pub(crate) fn start(mut command: impl BorrowMut<Command>) -> Self {
        let command = command.borrow_mut();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self { child: child.unwrap_or_else(|err| panic!("{command:?}: {err}")) }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Its status; it must end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the end of a process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Reads its output up to and with this line, and returns it.
    pub(crate) fn until_line(&mut self, wanted: &str) -> String {
        let out = self.child.stdout.as_mut().unwrap();
        let mut seen = String::new();
        let mut byte = [0];
        while !seen.lines().any(|line| line == wanted) || !seen.ends_with('\n') {
            assert!(out.read(&mut byte).unwrap() == 1, "it ended before '{wanted}': {seen}");
            seen.push(byte[0].into());
        }
        seen
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A word for a command line that nobody else has.
pub(crate) fn unique(name: &str) -> String {
    format!("piku-chroot-{name}-{}-{:?}", std::process::id(), thread::current().id())
}

/// Returns the number of rounds of a race: `PIKU_ROUNDS`, else a few. Five hundred by hand may find more.
pub(crate) fn rounds(few: u32) -> u32 {
    std::env::var("PIKU_ROUNDS").map_or(few, |rounds| rounds.parse().expect("PIKU_ROUNDS is a number"))
}

/// Starts these jails one after another, each with two processes inside, and kills each monitor `step` microseconds later than the one
/// before. All processes must end.
pub(crate) fn kill_at_any_instant(step: u64, jail: impl Fn() -> Command) {
    let word = unique("instant");
    for round in 0..rounds(40) {
        let mut jail = jail();
        jail.args(["--", "sh", "-c", "sleep 600 & sleep 600", &word]).stdin(Stdio::null());
        let mut jail = Running::start(jail);
        thread::sleep(Duration::from_micros(u64::from(round % 40) * step + u64::from(round / 40) * 17));
        jail.signal(Signal::SIGKILL);
        jail.wait();
    }
    until("the end of the jails", || processes_with(&word).is_empty());
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The processes of the machine whose command line holds this word.
pub(crate) fn processes_with(word: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|arg| arg == word.as_bytes())
    };
    pids.filter(has).collect()
}
