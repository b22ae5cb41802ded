//! A timer on the wall clock. It also fires when the clock is set, which happens after each boot of a
//! Raspberry Pi.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jiff::Timestamp;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Becomes readable when it fires.
#[derive(Debug)]
pub(crate) struct CronTimer(OwnedFd);

/// As a value it disarms a timer; as an interval it makes a timer fire once.
const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl CronTimer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(timerfd_create(TimerfdClockId::Realtime, flags).map(Self)?)
    }

    /// Sets the time at which it fires: at once for a past time, never for `None`.
    pub(crate) fn set(&self, at: Option<Timestamp>) -> io::Result<()> {
        // At least one second: zero would disarm it.
        let value = at.map_or(NEVER, |at| Timespec {
            tv_sec: at.as_second().max(1),
            tv_nsec: at.subsec_nanosecond().max(0).into(),
        });
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&self.0, flags, &Itimerspec { it_interval: NEVER, it_value: value })?;
        Ok(())
    }

    /// Makes the timer unreadable until it fires again.
    pub(crate) fn acknowledge(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for CronTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::wait::{self, READ};
    use std::time::Duration;

    #[test]
    fn the_timer_fires_at_its_time_and_not_before() {
        let timer = CronTimer::new().unwrap();
        let fires = |patience| !wait::wait(&[(timer.as_fd(), READ, ())], Some(patience)).unwrap().is_empty();
        let at = Timestamp::now() + Duration::from_millis(50);
        timer.set(Some(at)).unwrap();
        assert!(fires(Duration::from_secs(60)) && Timestamp::now() >= at);
        timer.acknowledge();
        assert!(!fires(Duration::ZERO));
        timer.set(Some(Timestamp::UNIX_EPOCH)).unwrap();
        assert!(fires(Duration::from_secs(60)), "a past time is due");
        // Beyond 32 bits of seconds.
        timer.set(Some("2500-01-01T00:00:00Z".parse().unwrap())).unwrap();
        timer.acknowledge();
        assert!(!fires(Duration::ZERO));
        timer.set(None).unwrap();
        assert!(!fires(Duration::ZERO));
    }
}
