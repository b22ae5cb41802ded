//! Makes a jail once to learn whether this machine can make one, and which protections hold in it.

use std::fmt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::OnceLock;

use piku_report::user_error::{BUSY, UserError};

use super::{JailSpec, PROGRAM, PROGRAM_VARIABLE, find_program, systemd_scope};
use crate::profile::BuiltinProfile;
use crate::report::{self, JailObstacle, JailStart, LimitEnforcer};

/// Runs `true` in a jail, in a scope if one can be made (see [`JailSpec::scoped`]), and returns what holds in
/// it.
///
/// The jail is made once in the life of the caller; later calls return the same result.
///
/// # Errors If no jail can be made; see [`TrialError::is_absence`].
pub fn available() -> Result<&'static JailStart, &'static TrialError> {
    trial_result().as_ref().map(|trial| &trial.started)
}

/// Error of a trial in which no jail could be made.
#[derive(Debug)]
pub struct TrialError {
    message: String,
    hints: Vec<String>,
    obstacle: JailObstacle,
    /// piku-chroot is missing, or is another program: that does not pass by itself.
    is_broken: bool,
}

impl TrialError {
    /// Returns an error with this cause.
    #[must_use]
    pub fn new(message: String, hints: Vec<String>, obstacle: JailObstacle) -> Self {
        Self { message, hints, obstacle, is_broken: false }
    }

    /// Returns the error for a program that is missing or another one. It is temporary, since it is no reason to run a command
    /// without a jail.
    fn broken_installation(message: String, hint: String) -> Self {
        Self { is_broken: true, ..Self::new(message, vec![hint], JailObstacle::Temporary) }
    }

    /// Returns whether this machine can never make a jail. Any other obstacle may pass, and an app may have
    /// caused it: it is not a reason to run a command without a jail.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.obstacle == JailObstacle::Absent
    }

    /// Returns the error with its hints for the user; one that may pass by itself has the exit code [`BUSY`].
    #[must_use]
    pub fn failure(&self) -> UserError {
        let failure = self.hints.iter().fold(UserError::new(&self.message), UserError::hint);
        if self.is_absence() || self.is_broken { failure } else { failure.code(BUSY) }
    }

    /// Returns lines that say how to remove the obstacle.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for TrialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TrialError {}

/// Result of a trial that succeeded.
#[derive(Debug)]
pub(super) struct JailTrial {
    started: JailStart,
    /// Set if the jail was in a scope, and the scope's cgroup holds at least one limit.
    pub(super) scoped: bool,
}

/// Returns the result of the trial, which is run at the first call.
pub(super) fn trial_result() -> &'static Result<JailTrial, TrialError> {
    static RESULT: OnceLock<Result<JailTrial, TrialError>> = OnceLock::new();
    RESULT.get_or_init(|| {
        // If the scope is at fault, a jail without one may still work.
        let scoped = systemd_scope::find_manager().and_then(|_| run_trial(true).ok());
        scoped.filter(|trial| trial.scoped).map_or_else(|| run_trial(false), Ok)
    })
}

fn run_trial(scoped: bool) -> Result<JailTrial, TrialError> {
    let env: [(&str, &str); 0] = [];
    // Any port will do: the report then says whether ports can be restricted.
    let jail = JailSpec::profile(BuiltinProfile::Run).report(Path::new("/dev/stdout")).listen(1);
    let jail = JailSpec { scoped, ..jail };
    let output = jail.command(env, &["true".to_owned()]).stdin(Stdio::null()).output().map_err(|err| {
        let hint = format!("install {PROGRAM} beside this program, or name it in {PROGRAM_VARIABLE}");
        TrialError::broken_installation(format!("cannot run '{}': {err}", find_program().display()), hint)
    })?;
    read_result(&output).map(|started| {
        let has_cgroup = started.limits.iter().any(|held| held.by == LimitEnforcer::Cgroup);
        JailTrial { started, scoped: scoped && has_cgroup }
    })
}

/// Reads what piku-chroot reported and printed. The machine cannot make jails only if piku-chroot itself
/// reports that.
fn read_result(output: &Output) -> Result<JailStart, TrialError> {
    let (started, ended) = report::parse(&String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        return started.ok_or_else(|| {
            let program = find_program();
            let message = format!("no jail can be made now: '{}' does not say what holds", program.display());
            TrialError::broken_installation(
                message,
                format!("install the {PROGRAM} that came with this program"),
            )
        });
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (hints, lines): (Vec<&str>, Vec<&str>) = stderr.lines().partition(|line| line.starts_with("hint: "));
    let message = match lines.first() {
        Some(line) => line.strip_prefix("piku-chroot: ").unwrap_or(line).to_owned(),
        None => format!("'{}' ended with {}", find_program().display(), output.status),
    };
    let obstacle = ended.and_then(|ended| ended.obstacle).filter(|_| started.is_none());
    let obstacle = obstacle.unwrap_or(JailObstacle::Temporary);
    let when = if obstacle == JailObstacle::Absent { "here" } else { "now" };
    let mut hints: Vec<_> = hints.iter().map(|hint| hint.trim_start_matches("hint: ").to_owned()).collect();
    if hints.is_empty() {
        hints.push("piku doctor says what keeps jails from being made".to_owned());
    }
    Err(TrialError::new(format!("no jail can be made {when}: {message}"), hints, obstacle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    /// Returns the output of a trial with this raw wait status.
    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
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
            let err =
                read_result(&output(status, &stdout, "piku-chroot: cause\nhint: do this\n")).unwrap_err();
            assert_eq!(err.is_absence(), expected, "{what}");
            let (_, code) = piku_report::user_error::advice(&err.failure().into());
            // Another program does not become piku-chroot by itself.
            let may_pass = !expected && status != 0;
            assert_eq!(code == BUSY, may_pass, "{what}");
            assert!(!err.hints.is_empty(), "{what}");
        }
        let err = read_result(&output(125 << 8, "", "piku-chroot: cause\nhint: do this\n")).unwrap_err();
        assert_eq!(
            (err.to_string().as_str(), err.hints.as_slice()),
            ("no jail can be made now: cause", &["do this".to_owned()][..])
        );
        assert!(read_result(&output(0, started, "")).is_ok());
    }
}
