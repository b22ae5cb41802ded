//! Waits for a process to end, and forwards signals meanwhile.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::errors::SIGNAL_BASE;
use crate::hostfiles::follow::{self, FollowedFiles};
use crate::sys;

/// A command that runs that long is likely to stay, so memory can be released.
const SETTLED: Duration = Duration::from_secs(1);

/// Passes each of `signals` to `pass`. After each SIGCHLD it calls `ended`, and returns once that has an exit
/// code. Meanwhile it keeps followed files up to date.
pub(crate) fn wait_until_ended(
    signals: &SigSet,
    mut followed: Option<&mut FollowedFiles>,
    pass: impl Fn(Signal),
    ended: impl Fn() -> Result<Option<u8>>,
) -> Result<u8> {
    let mut timeout = Some(SETTLED);
    let mut settled = false;
    loop {
        let signal = sys::wait_for_signal(signals, timeout).context("cannot wait for signals")?;
        match signal {
            None => {
                match &mut followed {
                    Some(followed) if settled => followed.update(),
                    _ => sys::release_memory(),
                }
                settled = true;
                timeout = followed.as_ref().and_then(|followed| followed.poll_interval());
            }
            Some(follow::CHANGED) => {
                if let Some(followed) = &mut followed {
                    followed.update();
                }
                // The memory that this used is released too.
                (timeout, settled) = (Some(SETTLED), false);
            }
            Some(Signal::SIGCHLD) => {
                if let Some(code) = ended()? {
                    if let Some(followed) = &mut followed {
                        followed.finish();
                    }
                    return Ok(code);
                }
            }
            Some(signal) => pass(signal),
        }
    }
}

/// Returns the exit code of a child; `None` if it still runs.
pub(crate) fn poll_exit_code(child: Pid) -> Result<Option<u8>> {
    let status = waitpid(child, Some(WaitPidFlag::WNOHANG)).context("cannot wait for the jail")?;
    Ok(exit_code_of(status))
}

/// Returns the exit code for a process that has ended; `None` if it has not.
pub(crate) fn exit_code_of(status: WaitStatus) -> Option<u8> {
    match status {
        WaitStatus::Exited(_, code) => Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        WaitStatus::Signaled(_, signal, _) => {
            Some(u8::try_from(signal as i32).map_or(u8::MAX, |number| SIGNAL_BASE + number))
        }
        _ => None,
    }
}
