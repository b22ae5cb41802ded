//! Who runs this, and as whom it goes on: never with more rights than its caller has, and as root only when root says so.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgid, getgroups, getuid, setgroups, setresgid, setresuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::account::Account;
use crate::cli::shown;
use crate::plan::Plan;

/// Who runs the command, outside as inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

/// Becomes the user that was asked for, and says who that is. To be called before any namespace is made: inside, nobody
/// is known until the maps are written.
pub(crate) fn settle(plan: &Plan) -> Result<Identity> {
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
    Ok(Identity { uid: geteuid(), gid: getegid() })
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

fn become_user(name: &OsStr) -> Result<()> {
    let shown = shown(Path::new(name));
    let user = Account::find(name).with_context(|| format!("cannot look up {shown}"))?;
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
