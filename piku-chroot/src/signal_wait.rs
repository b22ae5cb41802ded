//! Waiting for a process to end, the signals that come meanwhile passed on.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::errors::SIGNAL_BASE;
use crate::hostfiles::follow::{self, FollowedFiles};
use crate::sys;

/// A command that runs so long is one that stays.
const SETTLED: Duration = Duration::from_secs(1);

/// Passes `signals` on until `ended`, which is asked whenever a child has ended, has an exit code; meanwhile keeps files up
/// to date where there are some to be followed.
pub(crate) fn until_ended(
    signals: &SigSet,
    mut followed: Option<&mut FollowedFiles>,
    pass: impl Fn(Signal),
    ended: impl Fn() -> Result<Option<u8>>,
) -> Result<u8> {
    let mut patience = Some(SETTLED);
    let mut settled = false;
    loop {
        let signal = sys::wait_for(signals, patience).context("cannot wait for signals")?;
        match signal {
            None => {
                match &mut followed {
                    Some(followed) if settled => followed.update(),
                    _ => sys::release_memory(),
                }
                settled = true;
                patience = followed.as_ref().and_then(|followed| followed.patience());
            }
            Some(follow::CHANGED) => {
                if let Some(followed) = &mut followed {
                    followed.update();
                }
                // What that needed is given back as well.
                (patience, settled) = (Some(SETTLED), false);
            }
            Some(Signal::SIGCHLD) => {
                if let Some(code) = ended()? {
                    return Ok(code);
                }
            }
            Some(signal) => pass(signal),
        }
    }
}

/// The exit code of a child, when it has ended.
pub(crate) fn ended(child: Pid) -> Result<Option<u8>> {
    let status = waitpid(child, Some(WaitPidFlag::WNOHANG)).context("cannot wait for the jail")?;
    Ok(code_of(status))
}

/// The exit code that tells how a process has ended; nothing when it has not.
pub(crate) fn code_of(status: WaitStatus) -> Option<u8> {
    match status {
        WaitStatus::Exited(_, code) => Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        WaitStatus::Signaled(_, signal, _) => {
            Some(u8::try_from(signal as i32).map_or(u8::MAX, |number| SIGNAL_BASE + number))
        }
        _ => None,
    }
}
