//! Waiting for descriptors, signals and a deadline in one blocking call.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::process::idle_memory::IdleMemory;

/// Readiness to wait for on a descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollInterest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

pub(crate) const READ: PollInterest = PollInterest { read: true, write: false };

/// Time during which a descriptor is excluded from waiting, because it stays ready but cannot be served.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct WaitPause(Option<Instant>);

impl WaitPause {
    pub(crate) fn begin(&mut self, time: Duration) {
        self.0 = Some(Instant::now() + time);
    }

    /// Returns the remaining time; `None` if the descriptor is to be waited for again.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.0?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// Waits until a descriptor is ready or broken, or the time is over. Returns the tokens of the ready ones.
pub(crate) fn wait<T: Copy>(
    watched: &[(BorrowedFd<'_>, PollInterest, T)],
    timeout: Option<Duration>,
) -> anyhow::Result<Vec<T>> {
    wait_then(watched, timeout, || ())
}

/// Like [`wait`], and releases the memory of this process when that is due.
pub(crate) fn wait_idle<T: Copy>(
    watched: &[(BorrowedFd<'_>, PollInterest, T)],
    timeout: Option<Duration>,
    memory: &IdleMemory,
) -> anyhow::Result<Vec<T>> {
    let timeout = timeout.into_iter().chain(memory.time_left()).min();
    // Last: pages of what runs afterwards are read again.
    wait_then(watched, timeout, || memory.release_when_due())
}

fn wait_then<T: Copy>(
    watched: &[(BorrowedFd<'_>, PollInterest, T)],
    timeout: Option<Duration>,
    before: impl FnOnce(),
) -> anyhow::Result<Vec<T>> {
    let timeout = to_timeout(timeout);
    let mut fds: Vec<PollFd<'_>> = watched
        .iter()
        .map(|(fd, interest, _)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, interest.read);
            flags.set(PollFlags::POLLOUT, interest.write);
            PollFd::new(*fd, flags)
        })
        .collect();
    before();
    match poll(&mut fds, timeout) {
        Ok(0) | Err(Errno::EINTR) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(err) => return Err(anyhow::Error::new(err).context("cannot wait for descriptors")),
    }
    let ready = |fd: &PollFd<'_>| fd.revents().is_none_or(|events| !events.is_empty());
    Ok(fds.iter().zip(watched).filter(|(fd, _)| ready(fd)).map(|(_, (_, _, token))| *token).collect())
}

/// Converts a timeout, rounding up: waking too early would cause a busy loop.
fn to_timeout(timeout: Option<Duration>) -> PollTimeout {
    let Some(timeout) = timeout else { return PollTimeout::NONE };
    let whole = timeout.as_micros().div_ceil(1000);
    i32::try_from(whole).ok().and_then(|whole| PollTimeout::try_from(whole).ok()).unwrap_or(PollTimeout::MAX)
}

/// Blocks the signals and returns a descriptor that delivers them. Child processes must unblock them.
pub(crate) fn signals(wanted: &[Signal]) -> anyhow::Result<SignalFd> {
    let set: SigSet = wanted.iter().copied().collect();
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Reads the pending signals.
pub(crate) fn received(from: &SignalFd) -> Vec<Signal> {
    let mut signals = Vec::new();
    while let Ok(Some(info)) = from.read_signal() {
        signals.extend(i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()));
    }
    signals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends() {
        let mut pause = WaitPause::default();
        assert_eq!(pause.left(), None);
        pause.begin(Duration::from_secs(1000));
        assert!(pause.left().is_some());
        pause.begin(Duration::ZERO);
        assert_eq!(pause.left(), None);
    }

    #[test]
    fn a_timeout_is_never_rounded_down() {
        assert_eq!(to_timeout(Some(Duration::from_micros(1))).as_millis(), Some(1));
        assert_eq!(to_timeout(Some(Duration::ZERO)).as_millis(), Some(0));
        assert_eq!(to_timeout(Some(Duration::from_micros(2001))).as_millis(), Some(3));
        assert_eq!(to_timeout(None), PollTimeout::NONE);
    }
}
