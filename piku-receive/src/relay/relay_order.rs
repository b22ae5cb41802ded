//! The order of changes that reach several machines: its lock is held from before the change on this host until the last
//! machine has answered.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use piku_files::FileLock;
use piku_layout::app_lock;

use super::settings_change::note_killed_change;
use crate::app_context::AppContext;

/// The held lock.
pub(crate) struct RelayOrder(FileLock);

impl RelayOrder {
    /// Waits for the lock, up to `patience` or `lock_timeout` of the host settings, and notes first what a killed change
    /// has left.
    ///
    /// # Errors
    /// With exit code 75 if the lock is not free in time.
    pub(crate) fn wait(
        context: &AppContext<'_>,
        by: &str,
        patience: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let order = Self(app_lock::wait_for_relay(&context.dir(), by, patience)?);
        note_killed_change(context)?;
        Ok(order)
    }

    /// Calls `change`, whose child processes keep the lock until they end: they may outlive this process, if it is
    /// killed, and must not change anything after a later change.
    pub(super) fn share<T>(&self, change: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.set_flags(FdFlag::empty())?;
        let changed = change();
        // No connection to a machine keeps it.
        self.set_flags(FdFlag::FD_CLOEXEC)?;
        changed
    }

    fn set_flags(&self, flags: FdFlag) -> anyhow::Result<()> {
        fcntl(self.0.as_fd(), FcntlArg::F_SETFD(flags)).context("cannot share the lock of the change")?;
        Ok(())
    }
}
