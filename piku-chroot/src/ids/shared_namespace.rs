//! A user namespace that the jails of one name share, so that newuidmap and newgidmap run once for all of them.
//!
//! A process that joins a namespace has all capabilities in it. The monitor never does: a helper joins, starts init
//! as the monitor's child, and ends.

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
use crate::ids::{self, JailIds, caller};
use crate::limits::LimitHold;
use crate::plan::JailPlan;
use crate::sys::{self, Namespaces};

/// Makes the namespace of `--uid-range` and `--group` and sends it on stdin. Returns an exit code.
pub(crate) fn send_new(plan: &JailPlan) -> Result<u8> {
    let ids = JailIds::resolve(plan, caller::become_requested_user(plan)?)?;
    ids::run_in_user_namespace(ids, &plan.groups, || {
        let own = File::open("/proc/self/ns/user").context("cannot open the namespace")?;
        fd_channel::send_fd(stdio::stdin(), &own)
            .map_err(io::Error::from)
            .context("--make-user-namespace: cannot send it on stdin")
    })
}

/// Starts a process in `namespace`, limited by `hold`, as a child of this one. `flags` are its new namespaces. Returns
/// `None` if the system refuses, as a security module or the filter of an outer container may.
///
/// # Errors
/// Fails if `namespace` is not a user namespace that could be joined.
pub(crate) fn spawn_in(
    namespace: OwnedFd,
    hold: &LimitHold,
    flags: Namespaces,
    child: impl FnOnce() -> u8,
) -> Result<Option<Pid>> {
    let (read, write) =
        pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe")?;
    let flags = flags.difference(Namespaces::CLONE_NEWUSER) | Namespaces::CLONE_PARENT;
    let mut given = Some((write, namespace));
    let helper = sys::spawn(Namespaces::empty(), || {
        let started = join(given.as_ref().map(|(_, namespace)| namespace)).and_then(|()| {
            hold.spawn(flags, || {
                // Neither is needed in the jail.
                drop(given.take());
                child()
            })
        });
        let word = match started {
            Ok(pid) => pid.as_raw(),
            Err(err) => -err.raw_os_error().unwrap_or(EIO),
        };
        let told =
            given.as_ref().is_some_and(|(write, _)| rustix::io::write(write, &word.to_ne_bytes()).is_ok());
        if told { 0 } else { SETUP_FAILED }
    });
    drop(given);
    let helper = helper.context("cannot start a process")?;
    let mut word = [0; 4];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut word));
    let end = waitpid(helper, None).context("cannot wait for a process")?;
    if matches!(end, WaitStatus::Signaled(_, Signal::SIGSYS, _)) {
        // A filter that kills.
        return Ok(None);
    }
    ensure!(count == Ok(word.len()), "--user-namespace: the process that joins it was killed");
    match i32::from_ne_bytes(word) {
        pid if pid > 0 => Ok(Some(Pid::from_raw(pid))),
        errno if errno == -EINVAL => Err(io::Error::from_raw_os_error(EINVAL))
            .context("--user-namespace: cannot start a process in it"),
        _ => Ok(None),
    }
}

/// Joins the namespace. That hides a process from its own user, who then could not open its files in /proc.
fn join(namespace: Option<&OwnedFd>) -> io::Result<()> {
    let namespace = namespace.ok_or(io::ErrorKind::NotFound)?;
    setns(namespace, Namespaces::CLONE_NEWUSER)?;
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}
