//! A timer of the wall clock. It ends early when somebody sets the clock: on a Pi that is once after each boot.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jiff::Timestamp;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Disarmed, or to end at a time.
#[derive(Debug)]
pub(crate) struct CronTimer(OwnedFd);

/// No time: it disarms a timer, and as an interval it makes one end once.
const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl CronTimer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(timerfd_create(TimerfdClockId::Realtime, flags).map(Self)?)
    }

    /// From now on it ends then; at once for a time that has passed.
    pub(crate) fn set(&self, at: Option<Timestamp>) -> io::Result<()> {
        // Not at zero: that would disarm it.
        let value = at.map_or(NEVER, |at| Timespec {
            tv_sec: at.as_second().max(1),
            tv_nsec: at.subsec_nanosecond().max(0).into(),
        });
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&self.0, flags, &Itimerspec { it_interval: NEVER, it_value: value })?;
        Ok(())
    }

    /// Takes notice of its end, or of the clock that was set.
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
    fn it_ends_at_its_time_and_not_before() {
        let timer = CronTimer::new().unwrap();
        let ended = |patience| !wait::wait(&[(timer.as_fd(), READ, ())], Some(patience)).unwrap().is_empty();
        let at = Timestamp::now() + Duration::from_millis(50);
        timer.set(Some(at)).unwrap();
        assert!(ended(Duration::from_secs(60)) && Timestamp::now() >= at);
        timer.acknowledge();
        assert!(!ended(Duration::ZERO));
        timer.set(Some(Timestamp::UNIX_EPOCH)).unwrap();
        assert!(ended(Duration::from_secs(60)), "what has passed is due");
        // Beyond what 32 bits of seconds can say.
        timer.set(Some("2500-01-01T00:00:00Z".parse().unwrap())).unwrap();
        timer.acknowledge();
        assert!(!ended(Duration::ZERO));
        timer.set(None).unwrap();
        assert!(!ended(Duration::ZERO));
    }
}
