//! The part of the cgroup tree that the manager of a user's own units has (`systemd --user`), and what of it that one has given
//! away. It does not mark that, as the system's own does: it is asked once, and marked here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::mark;

/// Where the manager of this user's units is reached, when one runs.
pub(crate) fn runtime_dir() -> Option<PathBuf> {
    let dir = PathBuf::from(format!("/run/user/{}", geteuid()));
    dir.join("systemd/private").exists().then_some(dir)
}

/// Whether it has given this unit of its own away.
pub(super) fn has_given_away(unit: &Path) -> bool {
    let (Some(name), Some(dir)) = (unit.file_name(), runtime_dir()) else { return false };
    let mut ask = Command::new("/usr/bin/systemctl");
    ask.args(["--user", "show", "--property=Delegate", "--value", "--"]).arg(name);
    ask.env_clear().env("XDG_RUNTIME_DIR", dir).stdin(Stdio::null()).stderr(Stdio::null());
    let given = ask.output().is_ok_and(|out| out.stdout.trim_ascii() == b"yes");
    if given {
        // Without the mark the next one asks again.
        let _ = mark::put(unit);
    }
    given
}

/// The innermost unit, below what it has, that a process is in.
pub(super) fn unit<'a>(managed: &Path, own: &'a Path) -> Option<&'a Path> {
    let is_unit =
        |dir: &&Path| dir.extension().is_some_and(|extension| extension == "scope" || extension == "service");
    own.ancestors().take_while(|dir| *dir != managed).find(is_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_process() {
        let managed = Path::new("/c/user.slice/user-1000.slice/user@1000.service");
        let of = |below: &str| {
            unit(managed, &managed.join(below)).map(|unit| unit.strip_prefix(managed).unwrap().to_owned())
        };
        assert_eq!(of("app.slice/run-1.scope"), Some("app.slice/run-1.scope".into()));
        assert_eq!(of("app.slice/x.service/monitors"), Some("app.slice/x.service".into()));
        assert_eq!(of("app.slice"), None);
        assert_eq!(unit(managed, managed), None);
    }
}
