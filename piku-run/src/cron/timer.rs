//! A timer of the wall clock. It ends early when somebody sets the clock: on a Pi that is once after each boot.

use std::os::fd::{AsFd, BorrowedFd};

use jiff::Timestamp;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Disarmed, or to end at a time.
#[derive(Debug)]
pub(crate) struct Timer(TimerFd);

impl Timer {
    pub(crate) fn new() -> nix::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        TimerFd::new(ClockId::CLOCK_REALTIME, flags).map(Self)
    }

    /// From now on it ends then; at once for a time that has passed.
    pub(crate) fn set(&self, at: Option<Timestamp>) -> nix::Result<()> {
        let Some(at) = at else { return self.0.unset() };
        // Not at zero: that would disarm it.
        let at = TimeSpec::new(at.as_second().max(1), at.subsec_nanosecond().into());
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        self.0.set(Expiration::OneShot(at), flags)
    }

    /// Takes notice of its end, or of the clock that was set.
    pub(crate) fn heard(&self) {
        let _ = self.0.wait();
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{self, READ};
    use std::time::Duration;

    #[test]
    fn it_ends_at_its_time_and_not_before() {
        let timer = Timer::new().unwrap();
        let ended = |patience| !wait::wait(&[(timer.as_fd(), READ, ())], Some(patience)).unwrap().is_empty();
        let at = Timestamp::now() + Duration::from_millis(50);
        timer.set(Some(at)).unwrap();
        assert!(ended(Duration::from_secs(60)) && Timestamp::now() >= at);
        timer.heard();
        assert!(!ended(Duration::ZERO));
        timer.set(Some(Timestamp::UNIX_EPOCH)).unwrap();
        assert!(ended(Duration::from_secs(60)), "what has passed is due");
        timer.set(None).unwrap();
        assert!(!ended(Duration::ZERO));
    }
}
