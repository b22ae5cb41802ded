//! The user who runs piku-chroot: it never has more rights than its caller, and becomes another user only for
//! root.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgid, getuid, setgroups, setresgid, setresuid};
use piku_nss::UserAccount;
use piku_report::user_error::{UserError, tell};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::stdio;

use crate::errors::SETUP_FAILED;
use crate::errors::quoted;
use crate::plan::{JailPlan, MountContent};

/// A user and a group, with the same numbers inside and outside of the jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallerIdentity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

/// Becomes the user of `--user` and returns it. To be called before any namespace is made: inside no user is
/// known until the maps are written.
pub(crate) fn become_requested_user(plan: &JailPlan) -> Result<CallerIdentity> {
    ensure!(getuid() == geteuid() && getgid() == getegid(), "refuses to run set-uid or set-gid");
    if let Some(name) = &plan.user {
        become_user(name).context("--user")?;
    } else if geteuid().is_root() {
        // Root's groups are useless inside. If even root may not leave them, they stay.
        let _ = setgroups(&[]);
    }
    Ok(CallerIdentity { uid: geteuid(), gid: getegid() })
}

/// Refuses stdin, stdout and stderr that lead out of the jail: from a directory of the host the command could
/// go anywhere, whatever its root is. A descriptor opened as a path only (`O_PATH`) is not an input or
/// output.
pub(crate) fn refuse_open_directories() -> Result<()> {
    // Not those of std, whose buffers would stay in the heap as long as the jail.
    let all = [("stdin", stdio::stdin()), ("stdout", stdio::stdout()), ("stderr", stdio::stderr())];
    for (name, fd) in all {
        let folder = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if folder || fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::PATH)) {
            let what = if folder { "a directory" } else { "opened as a path only" };
            let failure =
                UserError::new(format!("{name} is {what}, which would lead the command out of the jail"));
            return Err(failure.hint("give it a file, a pipe or /dev/null").code(SETUP_FAILED).into());
        }
    }
    Ok(())
}

/// Refuses groups besides the first, whose rights a jail with one user cannot drop.
pub(crate) fn refuse_other_groups() -> Result<()> {
    let others = other_groups();
    ensure!(
        others == 0,
        "--strict: the user is in {others} more groups, and the command would keep their rights"
    );
    Ok(())
}

/// Returns the groups of this process. The C library's function reads a file of /proc first.
pub(crate) fn groups() -> Vec<Gid> {
    let groups = rustix::process::getgroups().unwrap_or_default();
    groups.into_iter().map(|group| Gid::from_raw(group.as_raw())).collect()
}

/// Returns the number of groups besides the first.
pub(crate) fn other_groups() -> usize {
    let own = getegid();
    groups().iter().filter(|group| **group != own).count()
}

/// Warns of each source on which the command has rights only through one of the other groups: a user
/// namespace with one user cannot leave them.
pub(crate) fn warn_of_groups(plan: &JailPlan) {
    let own = getegid();
    let others: Vec<Gid> = groups().into_iter().filter(|group| *group != own).collect();
    for mount in plan.mounts.iter().filter(|_| !others.is_empty()) {
        let MountContent::Tree { src, .. } = &mount.content else { continue };
        // A source that cannot be read is refused later, with its cause.
        let Ok(stat) = src.symlink_metadata() else { continue };
        let through = others.iter().find(|group| group.as_raw() == stat.gid());
        let Some(group) =
            through.filter(|_| stat.uid() != geteuid().as_raw() && group_has_more_rights(stat.mode()))
        else {
            continue;
        };
        tell(&format!(
            "piku-chroot: warning: {}: the command has the rights of group {group} on {}; its own user (--uid-range) would not",
            mount.option,
            quoted(src)
        ));
    }
}

/// Returns whether the mode gives the group a right that it does not give to others.
fn group_has_more_rights(mode: u32) -> bool {
    (mode >> 3) & !mode & 0o7 != 0
}

fn become_user(name: &OsStr) -> Result<()> {
    let shown = quoted(Path::new(name));
    let user = UserAccount::find_by_key(name).with_context(|| format!("cannot look up {shown}"))?;
    let user = user.with_context(|| format!("unknown user {shown}"))?;
    if (user.uid, user.gid) == (geteuid(), getegid()) && !geteuid().is_root() {
        return Ok(());
    }
    ensure!(geteuid().is_root(), "only root can become {shown}");
    setgroups(&[]).context("cannot leave root's groups")?;
    setresgid(user.gid, user.gid, user.gid).with_context(|| format!("cannot become {shown}"))?;
    setresuid(user.uid, user.uid, user.uid).with_context(|| format!("cannot become {shown}"))?;
    // After such a change /proc/self belongs to root, and the maps could not be written.
    set_dumpable_behavior(DumpableBehavior::Dumpable).context("cannot open /proc/self again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_alone_may() {
        for mode in [0o640, 0o750, 0o770, 0o755 & !0o001, 0o100_664] {
            assert!(group_has_more_rights(mode), "{mode:o}");
        }
        for mode in [0o644, 0o755, 0o600, 0o607, 0o777] {
            assert!(!group_has_more_rights(mode), "{mode:o}");
        }
    }
}
