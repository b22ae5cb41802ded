//! Starts a command in a scope of the user's own systemd manager, and so in a cgroup that can hold limits. A
//! process of an ssh session can neither leave the session's cgroup by itself nor divide it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

use crate::limits::user_runtime_dir;

const PROGRAM: &str = "/usr/bin/systemd-run";

/// Returns the runtime directory of the user's manager if it can make a scope for this process.
///
/// That needs a session of the user: without one the manager, and with it the scope, may end at any time. It
/// stays as long as any process of a session runs.
pub(super) fn find_manager() -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let can_make_scopes = is_in_session(&cgroups, geteuid().as_raw()) && Path::new(PROGRAM).exists();
    user_runtime_dir().filter(|_| can_make_scopes)
}

/// Wraps a command so that it starts in a scope, with the same environment. Returns `None` if no scope can be
/// made.
///
/// `systemd-run` gets the same environment: it must not hold names that an app has chosen.
pub(super) fn wrap(command: &Command) -> Option<Command> {
    let manager = find_manager()?;
    let mut scope = Command::new(PROGRAM);
    scope.args(["--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--"]);
    scope.arg(command.get_program()).args(command.get_args());
    scope.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    scope.env("XDG_RUNTIME_DIR", manager);
    Some(scope)
}

/// Returns whether a process with these lines of /proc/self/cgroup belongs to a session of this user.
fn is_in_session(cgroups: &str, uid: u32) -> bool {
    let slice = format!("0::/user.slice/user-{uid}.slice/session-");
    cgroups
        .lines()
        .any(|line| line.strip_prefix(&slice).is_some_and(|rest| rest.strip_suffix(".scope").is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_of_the_user_keeps_the_manager() {
        let in_session = |cgroup: &str| is_in_session(&format!("4:memory:/x\n0::{cgroup}\n"), 989);
        assert!(in_session("/user.slice/user-989.slice/session-43.scope"));
        assert!(!in_session("/user.slice/user-0.slice/session-43.scope"));
        assert!(!in_session("/user.slice/user-989.slice/user@989.service/app.slice/run-1.scope"));
        assert!(!in_session("/system.slice/cron.service"));
        assert!(!in_session("/"));
    }
}
