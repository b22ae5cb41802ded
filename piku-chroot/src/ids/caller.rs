//! Who runs this, and as whom it goes on: never with more rights than its caller has, and as root only when root says so.

use std::ffi::OsStr;
use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgid, getgroups, getuid, setgroups, setresgid, setresuid};
use piku_nss::UserAccount;
use piku_report::user_error::{UserError, tell};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::errors::SETUP_FAILED;
use crate::errors::quoted;
use crate::plan::{JailPlan, MountContent};

/// Who runs the command, outside as inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallerIdentity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

/// Becomes the user that was asked for, and says who that is. To be called before any namespace is made: inside, nobody
/// is known until the maps are written.
pub(crate) fn settle(plan: &JailPlan) -> Result<CallerIdentity> {
    ensure!(
        getuid() == geteuid() && getgid() == getegid(),
        "refuses to run set-uid or set-gid; it needs no such right"
    );
    if let Some(name) = &plan.user {
        become_user(name).context("--user")?;
    } else if geteuid().is_root() {
        // Root's groups are good for nothing inside. Where even root may not leave them, they stay.
        let _ = setgroups(&[]);
    }
    Ok(CallerIdentity { uid: geteuid(), gid: getegid() })
}

/// Refuses what leads out by itself: from a folder of the host's that is stdin, stdout or stderr the command could go
/// anywhere, whatever its root is. What was opened as a path only (`O_PATH`) is no input or output at all.
pub(crate) fn refuse_ways_out() -> Result<()> {
    let (stdin, stdout, stderr) = (stdin(), stdout(), stderr());
    let all = [("stdin", stdin.as_fd()), ("stdout", stdout.as_fd()), ("stderr", stderr.as_fd())];
    for (name, fd) in all {
        let folder = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if folder || fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::PATH)) {
            let what = if folder { "a folder" } else { "opened as a path only" };
            let failure =
                UserError::new(format!("{name} is {what}, which would lead the command out of the jail"));
            return Err(failure.hint("give it a file, a pipe or /dev/null").code(SETUP_FAILED).into());
        }
    }
    Ok(())
}

/// Refuses what a jail with one user cannot take away.
pub(crate) fn refuse_other_groups() -> Result<()> {
    let others = other_groups();
    ensure!(
        others == 0,
        "--strict: the user is in {others} more groups, and the command would keep their rights"
    );
    Ok(())
}

/// How many groups there are besides the first.
pub(crate) fn other_groups() -> usize {
    let own = getegid();
    getgroups().unwrap_or_default().iter().filter(|group| **group != own).count()
}

/// Says of each source that is let in when the command can do with it what only one of those groups may: a user namespace
/// with one user cannot leave them.
pub(crate) fn warn_of_groups(plan: &JailPlan) {
    let own = getegid();
    let groups = getgroups().unwrap_or_default();
    let others: Vec<Gid> = groups.into_iter().filter(|group| *group != own).collect();
    for mount in plan.mounts.iter().filter(|_| !others.is_empty()) {
        let MountContent::Tree { src, .. } = &mount.what else { continue };
        // What cannot be looked at is refused later, with its reason.
        let Ok(stat) = src.symlink_metadata() else { continue };
        let through = others.iter().find(|group| group.as_raw() == stat.gid());
        let Some(group) =
            through.filter(|_| stat.uid() != geteuid().as_raw() && more_than_others(stat.mode()))
        else {
            continue;
        };
        tell(&format!(
            "piku-chroot: warning: {}: the command has the rights of group {group} on {}; a user of its own (--uid-range) has not",
            mount.option,
            quoted(src)
        ));
    }
}

/// Whether a file's group may do with it what all others may not.
fn more_than_others(mode: u32) -> bool {
    (mode >> 3) & !mode & 0o7 != 0
}

fn become_user(name: &OsStr) -> Result<()> {
    let shown = quoted(Path::new(name));
    let user = UserAccount::find(name).with_context(|| format!("cannot look up {shown}"))?;
    let user = user.with_context(|| format!("there is no user {shown}"))?;
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
            assert!(more_than_others(mode), "{mode:o}");
        }
        for mode in [0o644, 0o755, 0o600, 0o607, 0o777] {
            assert!(!more_than_others(mode), "{mode:o}");
        }
    }
}
