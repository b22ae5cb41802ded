//! A prepared root: the user namespace and the parts of the root that are the same in all jails of an app, made once
//! for all of them. It is a mount namespace in which no process runs; its descriptor keeps it.
//!
//! A process that joins a user namespace has all capabilities in it. The monitor never does: a helper joins, starts
//! init as the monitor's child, and ends. Init opens in a copy of the host's mount namespace what the jail shows of the
//! host, and exchanges that for a copy of the prepared one. So each jail has its own mount namespace; of what the copied
//! mounts show, all is read-only for the command.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::libc::{EINVAL, EIO};
use nix::sched::{setns, unshare};
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
use crate::root::folder::OpenedFolder;
use crate::root::{self, MountPlaces};
use crate::sys::{self, Namespaces};

/// Makes a prepared root for jails with the options of this plan and sends it on stdin. Returns an exit code.
pub(crate) fn send_new(plan: &JailPlan) -> Result<u8> {
    let ids = JailIds::resolve(plan, caller::become_requested_user(plan)?)?;
    let host = HostFiles::new(plan, ids.caller).read(false, false).context("cannot read the host's /etc")?;
    ids::run_in_user_namespace(ids, &plan.groups, Namespaces::CLONE_NEWNS, || {
        let own = File::open(OWN_MOUNTS).context("cannot open the namespace")?;
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

/// A prepared root in the process that is to copy it.
pub(crate) struct PreparedRoot(OwnedFd);

/// The copy of a prepared root in which a process is.
pub(crate) struct PreparedCopy {
    pub(crate) root: OpenedFolder,
    pub(crate) places: MountPlaces,
    /// The `/etc` that all jails of the app share, writable.
    pub(crate) etc: OwnedFd,
    /// The mount namespace that the process has left. To close it takes a grace period of the kernel.
    pub(crate) left: OwnedFd,
}

/// Starts a process in the user namespace of `prepared`, limited by `hold`, as a child of this one. `flags` are its new
/// namespaces. Returns `None` if the system refuses, as a security module or the filter of an outer container may.
///
/// # Errors
/// Fails if `prepared` is not a namespace that could be joined.
pub(crate) fn spawn_in(
    prepared: OwnedFd,
    hold: &LimitHold,
    flags: Namespaces,
    child: impl FnOnce(PreparedRoot) -> u8,
) -> Result<Option<PreparedInit>> {
    const OPTION: &str = "--prepared: not a prepared root that this process could use";
    let users = sys::owning_user_namespace(&prepared).context(OPTION)?;
    let (read, write) =
        pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).context("cannot make a pipe")?;
    let flags = flags.difference(Namespaces::CLONE_NEWUSER) | Namespaces::CLONE_PARENT;
    let mut given = Some((users, read, write, prepared));
    let helper = sys::spawn(Namespaces::empty(), || {
        let started = join(given.as_ref().map(|(users, ..)| users)).and_then(|()| {
            hold.spawn(flags, || {
                let Some((users, read, write, prepared)) = given.take() else { return SETUP_FAILED };
                // The jail needs nothing else.
                drop((users, read, write));
                child(PreparedRoot(prepared))
            })
        });
        let word = match &started {
            Ok(pid) => pid.as_raw(),
            Err(err) => -err.raw_os_error().unwrap_or(EIO),
        };
        let Some((_, _, write, _)) = &given else { return SETUP_FAILED };
        if rustix::io::write(write, &word.to_ne_bytes()).is_ok() { 0 } else { SETUP_FAILED }
    });
    let helper = helper.context("cannot start a process")?;
    let read = given.map(|(_, read, ..)| read).context("cannot start a process")?;
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

impl PreparedRoot {
    /// Exchanges the mount namespace of this process for a copy of the prepared one. Returns `None`, in the old one
    /// without ties to the host's, if the system refuses or the root lacks a mount point.
    ///
    /// # Errors
    /// Fails if the old namespace cannot be joined again.
    pub(crate) fn enter_copy(
        self,
        open_places: impl FnOnce(&OpenedFolder) -> Option<MountPlaces>,
    ) -> Result<Option<PreparedCopy>> {
        if let Ok(left) = File::open(OWN_MOUNTS).map(OwnedFd::from) {
            if setns(&self.0, Namespaces::CLONE_NEWNS).is_ok() {
                let copied = copy_joined().ok();
                let copied = copied.and_then(|(root, etc)| Some((open_places(&root)?, root, etc)));
                if let Some((places, root, etc)) = copied {
                    return Ok(Some(PreparedCopy { root, places, etc, left }));
                }
                setns(&left, Namespaces::CLONE_NEWNS).context("cannot leave the prepared root")?;
            }
        }
        root::detach_mounts().map(|()| None)
    }
}

/// Exchanges a prepared root that this process has joined for a copy. Returns the root of the copy, and the `/etc` of the
/// prepared root itself.
fn copy_joined() -> io::Result<(OpenedFolder, OwnedFd)> {
    let etc = root::open_directory(Path::new("/etc"))?;
    unshare(Namespaces::CLONE_NEWNS)?;
    Ok((OpenedFolder::new(root::open_directory(Path::new("/"))?), etc))
}

/// The mount namespace of this process, while the host's /proc is visible.
const OWN_MOUNTS: &str = "/proc/self/ns/mnt";

/// Joins the namespace. That hides a process from its own user, who then could not open its files in /proc.
fn join(users: Option<&OwnedFd>) -> io::Result<()> {
    let users = users.ok_or(io::ErrorKind::NotFound)?;
    setns(users, Namespaces::CLONE_NEWUSER)?;
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

fn reap(helper: Pid) -> Result<WaitStatus> {
    waitpid(helper, None).context("cannot wait for a process")
}
