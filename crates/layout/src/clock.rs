//! Rules for trusting the wall clock of a machine. A board without a battery for its clock boots in 1970
//! or where it was turned off, and is set once it has found a time server; a wrong battery or a typing
//! error takes a clock years ahead, and the way back is a jump, too. `docs/clock.md` has the rule for each
//! use of a time. All of these are functions of the time that they are given.

use std::time::{Duration, SystemTime};

/// Seconds from 1970 to 1 March 2025. No machine runs this program earlier: the compiler that it needs,
/// Rust 1.85, is of February 2025. It is not the time of the build, so that two builds are the same.
pub const EARLIEST: i64 = 1_740_787_200;

/// Dates that are less than this ahead of the clock are those of a clock that was set back a little.
pub(crate) const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns whether a clock that says `seconds` since 1970 has been set since it began at some time of its
/// own.
#[must_use]
pub fn is_set(seconds: i64) -> bool {
    seconds >= EARLIEST
}

/// Returns how long before `now` something has a `date`. A date that is ahead of the clock is none to
/// count from: nothing.
#[must_use]
pub fn age(date: SystemTime, now: SystemTime) -> Option<Duration> {
    now.duration_since(date).ok()
}

/// Returns whether a `date` was given by a clock that was ahead of what it says `now`.
#[must_use]
pub fn is_ahead(date: SystemTime, now: SystemTime) -> bool {
    date.duration_since(now).is_ok_and(|ahead| ahead > AHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_has_set_is_not_believed() {
        assert!(!is_set(0) && !is_set(-1) && !is_set(EARLIEST - 1));
        assert!(is_set(EARLIEST) && is_set(i64::from(i32::MAX) + 1));
    }

    #[test]
    fn a_date_ahead_of_the_clock_has_no_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let second = Duration::from_secs(1);
        assert_eq!(age(now - second, now), Some(second));
        assert_eq!(age(now, now), Some(Duration::ZERO));
        assert_eq!(age(now + second, now), None);
        assert!(!is_ahead(now + AHEAD, now) && is_ahead(now + AHEAD + second, now));
        assert!(!is_ahead(SystemTime::UNIX_EPOCH, now));
    }
}
