//! The new namespaces and who one is in them.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid, getegid, geteuid, sethostname};

use crate::cli::Net;
use crate::plan::Plan;

/// What a jail is made of. The cgroup namespace alone may be missing: it hides a name and guards nothing.
pub(crate) fn flags(plan: &Plan) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if plan.strict || Path::new("/proc/self/ns/cgroup").exists() {
        flags |= CloneFlags::CLONE_NEWCGROUP;
    }
    if plan.net == Net::None {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    flags
}

/// Who runs the command, outside as inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

impl Identity {
    /// Ours. To be asked before the namespaces are made: inside, nobody is known until the maps are written.
    pub(crate) fn own() -> Self {
        Self { uid: geteuid(), gid: getegid() }
    }
}

/// Maps the one user and group that we are to themselves. No other exists inside, and the groups cannot be changed: a
/// member of a group that a file is denied to could otherwise leave it.
pub(crate) fn map(identity: Identity) -> Result<()> {
    let Identity { uid, gid } = identity;
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", &format!("{gid} {gid} 1"))
}

/// One write: the kernel takes such a file in one piece or not at all.
fn write(path: &str, text: &str) -> Result<()> {
    let write = || OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes());
    write().with_context(|| format!("cannot make a user namespace: {path}"))
}

/// The name of the machine inside.
pub(crate) fn set_hostname(plan: &Plan) -> Result<()> {
    sethostname(&plan.hostname).context("--hostname: cannot set it")
}
