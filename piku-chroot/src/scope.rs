//! A cgroup for what is started from a session: a scope of the manager of the user's own units. Nobody may leave the cgroup of an
//! ssh session for another by himself, and it is not his to divide.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

use crate::limits::runtime_dir;

const PROGRAM: &str = "/usr/bin/systemd-run";

/// Whether there can be one: where the manager is reached. Outside of a session there is none: it might end at any time, and all
/// its scopes with it. As long as anything of a session runs, it stays.
pub(crate) fn manager() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_there = is_session(&own, geteuid().as_raw()) && Path::new(PROGRAM).exists();
    runtime_dir().filter(|_| is_there)
}

/// The same command, in a scope that is its own, and with the same environment; nothing where there can be none.
///
/// The environment is that of `systemd-run` too: it must hold nothing that an app has named.
pub(crate) fn around(command: &Command) -> Option<Command> {
    let manager = manager()?;
    let mut scope = Command::new(PROGRAM);
    scope.args(["--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--"]);
    scope.arg(command.get_program()).args(command.get_args());
    scope.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    scope.env("XDG_RUNTIME_DIR", manager);
    Some(scope)
}

/// Whether a process with this /proc/self/cgroup belongs to a session of this user.
fn is_session(cgroups: &str, user: u32) -> bool {
    let slice = format!("0::/user.slice/user-{user}.slice/session-");
    cgroups
        .lines()
        .any(|line| line.strip_prefix(&slice).is_some_and(|rest| rest.strip_suffix(".scope").is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_of_the_user_keeps_the_manager() {
        let of = |own: &str| is_session(&format!("4:memory:/x\n0::{own}\n"), 989);
        assert!(of("/user.slice/user-989.slice/session-43.scope"));
        assert!(!of("/user.slice/user-0.slice/session-43.scope"));
        assert!(!of("/user.slice/user-989.slice/user@989.service/app.slice/run-1.scope"));
        assert!(!of("/system.slice/cron.service"));
        assert!(!of("/"));
    }
}
