//! The new namespaces and who one is in them.

use std::fs::OpenOptions;
use std::io::{self, Write};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::sethostname;

use crate::cli::NetworkOption;
use crate::errors::diagnosis::{SetupStep, explain};
use crate::ids::caller::CallerIdentity;
use crate::plan::JailPlan;
use crate::sys;

/// What a jail is made of, but for the cgroup namespace, see [`hide_cgroup`].
pub(crate) fn flags(plan: &JailPlan) -> CloneFlags {
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

/// Maps the one user and group that we are to themselves. No other exists inside, and the groups cannot be changed: a
/// member of a group that a file is denied to could otherwise leave it.
pub(crate) fn map(identity: CallerIdentity) -> Result<()> {
    let CallerIdentity { uid, gid } = identity;
    let files = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ];
    for (file, text) in files {
        write(file, &text).map_err(|err| explain(SetupStep::Map, &err)).context(file)?;
    }
    Ok(())
}

/// One write: the kernel takes such a file in one piece or not at all.
fn write(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Makes the cgroup that this process is in the root of all that the jail sees. From inside, because the process that is
/// cloned would have its parent's for a root. It alone may be missing: it hides a name and guards nothing.
pub(crate) fn hide_cgroup() -> Result<()> {
    let made = unshare(CloneFlags::CLONE_NEWCGROUP).map_err(io::Error::from);
    made.map_err(|err| explain(SetupStep::Rights, &err)).context("cannot make a cgroup namespace")
}

/// Switches the network on that leads nowhere but to oneself; the kernel gives it its addresses.
pub(crate) fn raise_loopback(plan: &JailPlan) -> Result<()> {
    if matches!(plan.net, NetworkOption::Loopback | NetworkOption::Own) {
        sys::raise_loopback().context("--net: cannot switch it on")?;
    }
    Ok(())
}

/// The name of the machine inside.
pub(crate) fn set_hostname(plan: &JailPlan) -> Result<()> {
    sethostname(&plan.hostname).context("--hostname: cannot set it")
}
