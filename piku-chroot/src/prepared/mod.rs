//! A prepared root: the user namespace and the parts of the root that are the same in all jails of an app, made once
//! for all of them. It is a mount namespace in which no process runs; its descriptor keeps it.
//!
//! A process that joins a user namespace has all capabilities in it. The monitor never does: a helper joins, starts
//! init as the monitor's child, copies the mounts of the prepared root for it, and ends. Each jail has its own mount
//! namespace and its own copy of the mounts; of what they show, all is read-only for the command.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use nix::libc::{EINVAL, EIO};
use nix::sched::setns;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::stdio;

use crate::errors::SETUP_FAILED;
use crate::fd_channel;
use crate::hostfiles::HostFiles;
use crate::ids::{self, JailIds, caller};
use crate::limits::LimitHold;
use crate::plan::JailPlan;
use crate::root::{self, tree};
use crate::sys::{self, Namespaces};

/// Makes a prepared root for jails with the options of this plan and sends it on stdin. Returns an exit code.
pub(crate) fn send_new(plan: &JailPlan) -> Result<u8> {
    let ids = JailIds::resolve(plan, caller::become_requested_user(plan)?)?;
    let host = HostFiles::new(plan, ids.caller).read(false, false).context("cannot read the host's /etc")?;
    ids::run_in_user_namespace(ids, &plan.groups, Namespaces::CLONE_NEWNS, || {
        // Opened while the host's /proc is visible.
        let own = File::open("/proc/self/ns/mnt").context("cannot open the namespace")?;
        root::become_shared_root(plan, ids.command(), &host.files)?;
        ids.try_to_leave()?;
        fd_channel::send_fd(stdio::stdin(), &own)
            .map_err(io::Error::from)
            .context("--prepare: cannot send it on stdin")
    })
}

/// The first process of a jail in the user namespace of a prepared root.
pub(crate) struct PreparedInit {
    pub(crate) pid: Pid,
    helper: Pid,
}

/// The copy of a prepared root that init waits for.
pub(crate) struct PreparedCopy(OwnedFd);

/// Starts a process in the user namespace of `prepared`, limited by `hold`, as a child of this one. `flags` are its new
/// namespaces. Returns `None` if the system refuses, as a security module or the filter of an outer container may.
///
/// # Errors
/// Fails if `prepared` is not a namespace that could be joined.
pub(crate) fn spawn_in(
    prepared: OwnedFd,
    hold: &LimitHold,
    flags: Namespaces,
    child: impl FnOnce(PreparedCopy) -> u8,
) -> Result<Option<PreparedInit>> {
    const OPTION: &str = "--prepared: not a prepared root that this process could use";
    let users = sys::owning_user_namespace(&prepared).context(OPTION)?;
    let (read, write) =
        pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe")?;
    let (receiver, sender) = fd_channel::open_channel()?;
    let flags = flags.difference(Namespaces::CLONE_NEWUSER) | Namespaces::CLONE_PARENT;
    let mut given = Some((users, write, sender, receiver, prepared));
    let helper = sys::spawn(Namespaces::empty(), || {
        let started = join(given.as_ref().map(|(users, ..)| users)).and_then(|()| {
            hold.spawn(flags, || {
                let Some((users, write, sender, receiver, prepared)) = given.take() else {
                    return SETUP_FAILED;
                };
                // The jail needs nothing else.
                drop((users, write, sender, prepared));
                child(PreparedCopy(receiver))
            })
        });
        let word = match &started {
            Ok(pid) => pid.as_raw(),
            Err(err) => -err.raw_os_error().unwrap_or(EIO),
        };
        let Some((_, write, sender, _, prepared)) = &given else { return SETUP_FAILED };
        let told = rustix::io::write(write, &word.to_ne_bytes()).is_ok();
        // Without a copy, init makes a root of its own.
        let handed = started.is_err() || send_copy(prepared, sender).is_ok();
        if told && handed { 0 } else { SETUP_FAILED }
    });
    drop(given);
    let helper = helper.context("cannot start a process")?;
    let mut word = [0; 4];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut word));
    if count == Ok(word.len()) {
        match i32::from_ne_bytes(word) {
            pid if pid > 0 => return Ok(Some(PreparedInit { pid: Pid::from_raw(pid), helper })),
            errno => {
                reap(helper)?;
                return if errno == -EINVAL {
                    Err(io::Error::from_raw_os_error(EINVAL)).context(OPTION)
                } else {
                    Ok(None)
                };
            }
        }
    }
    // A filter that kills refuses, too.
    let by_filter = matches!(reap(helper)?, WaitStatus::Signaled(_, Signal::SIGSYS, _));
    ensure!(by_filter, "--prepared: the process that joins it was killed");
    Ok(None)
}

impl PreparedInit {
    /// Waits for the end of the helper.
    pub(crate) fn reap_helper(&self) -> Result<()> {
        reap(self.helper).map(drop)
    }
}

impl PreparedCopy {
    /// Waits for the copy, a detached tree of mounts. Returns `None` if the helper could not make one.
    pub(crate) fn receive(self) -> Option<OwnedFd> {
        fd_channel::receive_fd(self.0).ok().flatten()
    }
}

/// Joins the namespace. That hides a process from its own user, who then could not open its files in /proc.
fn join(users: Option<&OwnedFd>) -> io::Result<()> {
    let users = users.ok_or(io::ErrorKind::NotFound)?;
    setns(users, Namespaces::CLONE_NEWUSER)?;
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// Sends a copy of all mounts of a prepared root. The kernel copies mounts only for a process in their namespace.
fn send_copy(prepared: &OwnedFd, channel: &OwnedFd) -> Result<()> {
    setns(prepared, Namespaces::CLONE_NEWNS)?;
    Ok(fd_channel::send_fd(channel, tree::copy_root()?)?)
}

fn reap(helper: Pid) -> Result<WaitStatus> {
    waitpid(helper, None).context("cannot wait for a process")
}
