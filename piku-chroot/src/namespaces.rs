//! The new namespaces of a jail, and the ids in them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, sethostname};

use crate::cli::NetworkOption;
use crate::errors::diagnosis::{SetupStep, explain_step};
use crate::ids::caller::CallerIdentity;
use crate::plan::JailPlan;
use crate::sys;

/// Returns the flags of a jail's namespaces, except the cgroup namespace; see [`hide_cgroup`].
pub(crate) fn clone_flags(plan: &JailPlan) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if plan.net != NetworkOption::Shared {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    flags
}

/// Opens the mount namespace of a jail's `init`, which has to be done before it becomes another user. As long as
/// it is open, the end of `init` takes down no mount: for that the kernel waits for all processors, twice.
pub(crate) fn open_mounts(init: Pid) -> Option<OwnedFd> {
    File::open(format!("/proc/{init}/ns/mnt")).ok().map(OwnedFd::from)
}

/// Maps the caller's uid and gid to themselves. No other id exists inside, and the groups cannot be changed:
/// otherwise a member of a group that may not read a file could leave the group.
pub(crate) fn map_caller(identity: CallerIdentity) -> Result<()> {
    let CallerIdentity { uid, gid } = identity;
    let files = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ];
    for (file, text) in files {
        write_whole(file, &text).map_err(|err| explain_step(SetupStep::Map, &err)).context(file)?;
    }
    Ok(())
}

/// Writes a file in one call: the kernel takes these files as a whole or not at all.
fn write_whole(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Makes this process's cgroup the root of all cgroups that the jail sees. Done from inside: a process that
/// is cloned into the namespace would see its parent's cgroup as the root. The only namespace that may be
/// missing: it hides a name and guards nothing.
pub(crate) fn hide_cgroup() -> Result<()> {
    let made = unshare(CloneFlags::CLONE_NEWCGROUP).map_err(io::Error::from);
    made.map_err(|err| explain_step(SetupStep::Rights, &err)).context("cannot make a cgroup namespace")
}

/// Switches the loopback device on; the kernel gives it its addresses.
pub(crate) fn raise_loopback(plan: &JailPlan) -> Result<()> {
    if matches!(plan.net, NetworkOption::Loopback | NetworkOption::Own) {
        sys::raise_loopback().context("--net: cannot switch the loopback device on")?;
    }
    Ok(())
}

pub(crate) fn set_hostname(plan: &JailPlan) -> Result<()> {
    sethostname(&plan.hostname).context("--hostname: cannot set the host name")
}
