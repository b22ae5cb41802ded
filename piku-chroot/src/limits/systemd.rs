//! Cgroups that systemd has delegated, and those of the manager of a user's own units (`systemd --user`).
//!
//! The system's manager marks a delegated cgroup by an extended attribute. The user's manager does not: it is
//! asked once, and the cgroup is marked here.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use rustix::fs::{XattrFlags, getxattr, setxattr};

/// Attributes of a delegated cgroup; every user can read the second one, which systemd sets since version
/// 251.
const DELEGATE_ATTRIBUTES: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// Returns whether systemd, or [`is_delegated_by_user_manager`], has marked a cgroup as delegated.
pub(super) fn has_delegation_mark(cgroup: &Path) -> bool {
    DELEGATE_ATTRIBUTES.iter().any(|name| {
        let mut value = [0_u8; 1];
        getxattr(cgroup, *name, &mut value[..]).is_ok_and(|length| value[..length] == *b"1")
    })
}

fn set_delegation_mark(cgroup: &Path) -> io::Result<()> {
    Ok(setxattr(cgroup, DELEGATE_ATTRIBUTES[1], b"1", XattrFlags::empty())?)
}

/// Returns the runtime directory of this user if a manager of the user's units can be reached there.
pub(crate) fn user_runtime_dir() -> Option<PathBuf> {
    let dir = PathBuf::from(format!("/run/user/{}", geteuid()));
    dir.join("systemd/private").exists().then_some(dir)
}

/// Asks the user's manager whether it has delegated this unit's cgroup, and marks it if so.
pub(super) fn is_delegated_by_user_manager(unit: &Path) -> bool {
    let (Some(name), Some(dir)) = (unit.file_name(), user_runtime_dir()) else { return false };
    let mut ask = Command::new("/usr/bin/systemctl");
    ask.args(["--user", "show", "--property=Delegate", "--value", "--"]).arg(name);
    ask.env_clear().env("XDG_RUNTIME_DIR", dir).stdin(Stdio::null()).stderr(Stdio::null());
    let delegated = ask.output().is_ok_and(|out| out.stdout.trim_ascii() == b"yes");
    if delegated {
        // Without the mark the next start asks again.
        let _ = set_delegation_mark(unit);
    }
    delegated
}

/// Returns the cgroup of the innermost unit below the manager's cgroup that contains `own`.
pub(super) fn innermost_unit<'a>(manager: &Path, own: &'a Path) -> Option<&'a Path> {
    let is_unit =
        |dir: &&Path| dir.extension().is_some_and(|extension| extension == "scope" || extension == "service");
    own.ancestors().take_while(|dir| *dir != manager).find(is_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_process() {
        let manager = Path::new("/c/user.slice/user-1000.slice/user@1000.service");
        let unit_of = |below: &str| {
            let own = manager.join(below);
            innermost_unit(manager, &own).map(|unit| unit.strip_prefix(manager).unwrap().to_owned())
        };
        assert_eq!(unit_of("app.slice/run-1.scope"), Some("app.slice/run-1.scope".into()));
        assert_eq!(unit_of("app.slice/x.service/monitors"), Some("app.slice/x.service".into()));
        assert_eq!(unit_of("app.slice"), None);
        assert_eq!(innermost_unit(manager, manager), None);
    }
}
