//! The caller's side: plain values that become a `piku-chroot` command line. No policy lives here.
//!
//! The environment of the command does not travel under its own names: an app that sets `LD_PRELOAD` would otherwise have
//! its library loaded by piku-chroot itself, outside of the jail. Each name gets [`PREFIX`], which piku-chroot takes off
//! again (`--env-prefix`); the values never stand on a command line, where everybody can read them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use piku_layout::settings::Protection;
use piku_report::user_error::{BUSY, UserError};

use crate::profile::BuiltinProfile;
use crate::report::{JailObstacle, JailStart};
use crate::{cli, report, scope};

/// Before the name of each variable that is meant for the command inside.
pub const PREFIX: &str = "PIKU_JAILED_";
/// Says where the `piku-chroot` program is, when it is not beside its caller or on PATH.
pub const PROGRAM_VARIABLE: &str = "PIKU_CHROOT";
/// The program's name.
const PROGRAM: &str = "piku-chroot";

/// For the monitor and the stub, who wait for months: a C library that keeps freed memory at hand for the next call keeps 55 kB
/// for each jail. The command does not see it.
const ALLOCATOR: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

/// What is let into a jail.
#[derive(Clone, Debug, Default)]
pub struct JailSpec {
    options: Vec<OsString>,
    /// Whether it gets a scope of its own.
    scoped: bool,
}

impl JailSpec {
    /// The host's programs and libraries, read-only; nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self { options: vec!["--root-from-host".into()], scoped: false }
    }

    /// What this profile lets in.
    #[must_use]
    pub fn profile(ready: BuiltinProfile) -> Self {
        Self::default().option("--profile", ready.name())
    }

    /// `dir` read-only at `/app`.
    #[must_use]
    pub fn app(self, dir: &Path) -> Self {
        self.option("--app", dir)
    }

    /// `dir` writable at `/data`.
    #[must_use]
    pub fn data(self, dir: &Path) -> Self {
        self.option("--data", dir)
    }

    /// `src` writable at `dst`.
    #[must_use]
    pub fn bind(self, src: &Path, dst: &Path) -> Self {
        self.option("--bind", cli::join(src, dst))
    }

    /// `src` read-only at `dst`.
    #[must_use]
    pub fn ro(self, src: &Path, dst: &Path) -> Self {
        self.option("--ro", cli::join(src, dst))
    }

    /// The command is the user that `name` has in `registry`, and so the data is that user's.
    #[must_use]
    pub fn own_user(self, name: &str, registry: &Path) -> Self {
        self.option("--uid-range", name).option("--uid-registry", registry)
    }

    /// The way back: what that user has in the data becomes the caller's, who the command is.
    #[must_use]
    pub fn no_own_user(self, name: &str, registry: &Path) -> Self {
        let mut jail = self.own_user(name, registry);
        jail.options.push("--give-back".into());
        jail
    }

    /// The working directory inside.
    #[must_use]
    pub fn chdir(self, dir: &Path) -> Self {
        self.option("--chdir", dir)
    }

    /// The name of the machine inside.
    #[must_use]
    pub fn hostname(self, name: &str) -> Self {
        self.option("--hostname", name)
    }

    /// At most so much of the machine, over what the profile says: `memory=512m,pids=100`.
    #[must_use]
    pub fn limit(self, limits: &str) -> Self {
        self.option("--limit", limits)
    }

    /// The size of `/tmp`, as `64m`; it never exceeds the limit on memory.
    #[must_use]
    pub fn tmp_size(self, size: &str) -> Self {
        self.option("--tmp-size", size)
    }

    /// Says in this file what holds and how it ended; see [`crate::report`].
    #[must_use]
    pub fn report(self, file: &Path) -> Self {
        self.option("--report", file)
    }

    /// The command may bind TCP sockets to `port`, and to no port that is not named so but those that the kernel picks, which
    /// alone are left by port 0.
    #[must_use]
    pub fn listen(self, port: u16) -> Self {
        self.option("--listen", port.to_string())
    }

    /// Refuses to start where one of these is missing.
    #[must_use]
    pub fn require(self, protections: &[Protection]) -> Self {
        protections.iter().fold(self, |jail, one| jail.option("--require", one.name()))
    }

    /// A network of the jail's own, connected by pasta. What comes in arrives at the ports of [`Self::listen`].
    #[must_use]
    pub fn own_network(self) -> Self {
        self.option("--net", "own")
    }

    /// A terminal of its own for the command, and nothing of the caller's.
    #[must_use]
    pub fn tty(mut self) -> Self {
        self.options.push("--tty".into());
        self
    }

    /// In a cgroup of its own, which can hold limits, where [`available`] has found that the manager of the user's units gives one;
    /// for callers in an ssh session, whose cgroup is not theirs.
    #[must_use]
    pub fn scoped(mut self) -> Self {
        self.scoped = answer().as_ref().is_ok_and(|answer| answer.scoped);
        self
    }

    /// The command inside ends with the process that calls this, even when that is killed with SIGKILL. The thread that
    /// starts the command has to live as long as the process.
    #[must_use]
    pub fn die_with_caller(self) -> Self {
        self.option("--die-with", std::process::id().to_string())
    }

    /// The command that runs `argv` in this jail with exactly the environment `env` (and PATH and HOME where it has none).
    pub fn command<I, K, V>(&self, env: I, argv: &[String]) -> Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let mut command = Command::new(program());
        command.env_clear().envs([ALLOCATOR]);
        for (name, value) in env {
            let mut prefixed = OsString::from(PREFIX);
            prefixed.push(name);
            command.env(prefixed, value);
        }
        command.args(&self.options).arg("--env-prefix").arg(PREFIX).arg("--").args(argv);
        if self.scoped { scope::around(&command).unwrap_or(command) } else { command }
    }

    /// One word, `--name=value`: a value that begins with a dash is still a value.
    fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        self.options.push(word);
        self
    }
}

/// Where the program is: `PIKU_CHROOT`, else beside the running program, else one folder up (tests run from
/// `target/debug/deps`), else on PATH.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(told) = std::env::var_os(PROGRAM_VARIABLE).filter(|told| !told.is_empty()) {
        return told.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.ancestors().skip(1).take(2).map(Path::to_owned);
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .chain(std::env::split_paths(&on_path))
        .map(|folder| folder.join(PROGRAM))
        .find(|file| file.is_file())
        .unwrap_or_else(|| PROGRAM.into())
}

/// Tries whether a jail can be made on this machine by this user, and returns what holds in it; where that can be, in a scope of
/// its own, see [`JailSpec::scoped`]. It is tried for real, once in the life of the caller.
///
/// # Errors
/// With what stood in the way, and whether it is the machine itself.
pub fn available() -> Result<&'static JailStart, &'static TrialError> {
    answer().as_ref().map(|answer| &answer.started)
}

/// A jail that could not be made.
#[derive(Debug)]
pub struct TrialError {
    message: String,
    hints: Vec<String>,
    obstacle: JailObstacle,
}

impl TrialError {
    /// Returns whether this machine makes no jails at all. Anything else passes, and an app may have brought it about: it is no
    /// reason to run something without a jail.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.obstacle == JailObstacle::Absent
    }

    /// Returns the same with the hints that belong to it; a temporary one ends a tool with [`BUSY`].
    #[must_use]
    pub fn failure(&self) -> UserError {
        let failure = self.hints.iter().fold(UserError::new(&self.message), UserError::hint);
        if self.is_absence() { failure } else { failure.code(BUSY) }
    }

    /// Returns the lines that say what to do.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Makes one.
    #[must_use]
    pub fn new(message: String, hints: Vec<String>, obstacle: JailObstacle) -> Self {
        Self { message, hints, obstacle }
    }

    /// A failure that has nothing to do with what the machine can do.
    fn temporary(message: String, hint: String) -> Self {
        Self::new(message, vec![hint], JailObstacle::Temporary)
    }
}

impl fmt::Display for TrialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TrialError {}

/// What a trial has told.
#[derive(Debug)]
struct TrialAnswer {
    started: JailStart,
    /// Whether it was tried in a scope, whose cgroup holds some of the limits.
    scoped: bool,
}

fn answer() -> &'static Result<TrialAnswer, TrialError> {
    static ANSWER: OnceLock<Result<TrialAnswer, TrialError>> = OnceLock::new();
    ANSWER.get_or_init(|| {
        // Whatever is wrong with a scope, without one there may be a jail.
        let scoped = scope::manager().and_then(|_| attempt(true).ok()).filter(|answer| answer.scoped);
        scoped.map_or_else(|| attempt(false), Ok)
    })
}

/// Runs `true` in a jail, which tells what holds.
fn attempt(scoped: bool) -> Result<TrialAnswer, TrialError> {
    let none: [(&str, &str); 0] = [];
    // Some port, so that it is told whether ports can be restricted.
    let jail = JailSpec::profile(BuiltinProfile::Run).report(Path::new("/dev/stdout"));
    let mut jail = jail.option("--listen", "1");
    jail.scoped = scoped;
    let output = jail.command(none, &["true".to_owned()]).stdin(Stdio::null()).output().map_err(|err| {
        let message = format!("cannot run '{}': {err}", program().display());
        TrialError::temporary(
            message,
            format!("install {PROGRAM} beside this program, or name it in {PROGRAM_VARIABLE}"),
        )
    })?;
    judge(&output).map(|started| {
        let scoped = scoped && started.limits.iter().any(|held| held.by == report::LimitEnforcer::Cgroup);
        TrialAnswer { started, scoped }
    })
}

/// Judges a trial that came to an end. Only where piku-chroot itself says so is the machine one without jails.
fn judge(output: &Output) -> Result<JailStart, TrialError> {
    let (started, ended) = report::parse(&String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        return started.ok_or_else(|| {
            let message =
                format!("no jail can be made now: '{}' does not say what holds", program().display());
            TrialError::temporary(message, format!("install the {PROGRAM} that came with this program"))
        });
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let (hints, lines): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with("hint: "));
    let message = match lines.first() {
        Some(line) => line.strip_prefix("piku-chroot: ").unwrap_or(line).to_owned(),
        None => format!("'{}' ended with {}", program().display(), output.status),
    };
    let obstacle = ended.and_then(|ended| ended.obstacle).filter(|_| started.is_none());
    let obstacle = obstacle.unwrap_or(JailObstacle::Temporary);
    let when = if obstacle == JailObstacle::Absent { "here" } else { "now" };
    let mut hints: Vec<_> = hints.iter().map(|hint| hint.trim_start_matches("hint: ").to_owned()).collect();
    if hints.is_empty() {
        hints.push("piku doctor says what keeps jails from being made".to_owned());
    }
    Err(TrialError { message: format!("no jail can be made {when}: {message}"), hints, obstacle })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_line_says_all_and_the_values_stay_off_it() {
        let jail = JailSpec::new()
            .app(Path::new("/r/app"))
            .data(Path::new("-d"))
            .ro(Path::new("/a:b"), Path::new("/c"));
        let command =
            jail.command([("SECRET", "s3"), ("LD_PRELOAD", "/x")], &["--odd".to_owned(), "a b".to_owned()]);
        let args: Vec<_> = command.get_args().map(|arg| arg.to_str().unwrap()).collect();
        let expected = [
            "--root-from-host",
            "--app=/r/app",
            "--data=-d",
            r"--ro=/a\:b:/c",
            "--env-prefix",
            PREFIX,
            "--",
            "--odd",
            "a b",
        ];
        assert_eq!(args, expected);
        let env: Vec<_> = command.get_envs().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(env, ["GLIBC_TUNABLES", "PIKU_JAILED_LD_PRELOAD", "PIKU_JAILED_SECRET"]);
    }

    /// A trial that ended with this code, or by this signal, and what it wrote.
    fn trial(status: i32, stdout: &str, stderr: &str) -> Output {
        let status = std::process::ExitStatus::from_raw(status);
        Output { status, stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn only_what_piku_chroot_calls_absent_lets_anything_run_without_a_jail() {
        let ended = |obstacle: &str| {
            format!(r#"{{"event":"ended","exit_code":125,"memory_peak_bytes":null,"oom_kills":0{obstacle}}}"#)
        };
        let started = r#"{"event":"started","level":1,"layers":[],"missing":[],"limits":[]}"#;
        let absent = ended(r#","obstacle":"absent""#);
        for (what, status, stdout, expected) in [
            ("no user namespaces", 125 << 8, absent.clone(), true),
            ("no keys left", 125 << 8, ended(r#","obstacle":"temporary""#), false),
            ("an older piku-chroot", 125 << 8, ended(""), false),
            ("a command line that it does not know", 125 << 8, String::new(), false),
            ("an obstacle of a newer version", 125 << 8, ended(r#","obstacle":"odd""#), false),
            ("a command that failed in its jail", 125 << 8, format!("{started}\n{absent}"), false),
            ("no such command", 127 << 8, String::new(), false),
            ("killed", 9, String::new(), false),
            ("killed half way", 9, r#"{"event":"ended","exit"#.to_owned(), false),
            ("silent success", 0, String::new(), false),
        ] {
            let err = judge(&trial(status, &stdout, "piku-chroot: cause\nhint: do this\n")).unwrap_err();
            assert_eq!(err.is_absence(), expected, "{what}");
            let (_, code) = piku_report::user_error::advice(&err.failure().into());
            assert_eq!(code == BUSY, !expected, "{what}");
            assert!(!err.hints.is_empty(), "{what}");
        }
        let err = judge(&trial(125 << 8, "", "piku-chroot: cause\nhint: do this\n")).unwrap_err();
        assert_eq!(
            (err.to_string().as_str(), err.hints.as_slice()),
            ("no jail can be made now: cause", &["do this".to_owned()][..])
        );
        assert!(judge(&trial(0, started, "")).is_ok());
    }
}
