//! Supervisors as the daemon's children, or adopted from a previous daemon.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::{lock, supervisor};

#[derive(Debug)]
pub(super) struct SupervisorChild {
    pub(super) pid: Pid,
    /// For a supervisor that a previous daemon started.
    pub(super) pidfd: Option<OwnedFd>,
    /// Boot slot: reads end-of-file once the app's instances are up or their time is over.
    pub(super) booting: Option<OwnedFd>,
}

impl SupervisorChild {
    /// Finds a supervisor that a previous daemon has started.
    pub(super) fn find(lock: &Path) -> Option<Self> {
        if !lock::is_held(lock) {
            return None;
        }
        let pid = lock::holder(lock)?;
        let pidfd = pidfd_open(rustix::process::Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Still locked: the pid belongs to the holder, and is not used again while the descriptor is open.
        let still = lock::is_held(lock) && lock::holder(lock) == Some(pid);
        still.then_some(Self { pid: Pid::from_raw(pid), pidfd: Some(pidfd), booting: None })
    }

    /// Starts one. At boot its stdin is the writing end of a pipe, which it closes once its instances
    /// are up.
    pub(super) fn spawn(program: &Path, root: &PikuRoot, app: &AppName, boot: bool) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args([supervisor::NAME, app.as_str()]).env(ROOT_VARIABLE, root.path()).stdin(Stdio::null());
        let mut booting = None;
        if boot {
            let (end, held) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
            command.stdin(held);
            booting = Some(end);
        }
        let child = command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("no pid")?);
        Ok(Self { pid, pidfd: None, booting })
    }
}
