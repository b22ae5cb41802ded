//! Delay before a crashed instance restarts: none after the first crash, then one second, doubled each time
//! up to a minute. A minute without a crash resets it.

use std::time::Duration;

/// Uptime after which earlier crashes no longer count.
pub(super) const STABLE: Duration = Duration::from_secs(60);
/// Longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// Number of crashes in a row that `ps` reports as a crash loop.
const LOOP: u32 = 5;

/// Number of crashes in a row of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CrashBackoff {
    crashes: u32,
}

impl CrashBackoff {
    /// Counts a crash after `uptime` and returns the delay before the restart. `seed` spreads the restarts
    /// of instances that crash together.
    pub(crate) fn record_crash(&mut self, uptime: Duration, seed: u64) -> Duration {
        if uptime >= STABLE {
            self.crashes = 0;
        }
        self.crashes = self.crashes.saturating_add(1);
        let Some(doublings) = self.crashes.checked_sub(2) else { return Duration::ZERO };
        let whole = Duration::from_secs(1 << doublings.min(6)).min(LONGEST);
        // Between seven and nine eighths of the delay.
        let spread = seed.wrapping_add(u64::from(self.crashes)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        whole.mul_f64(0.875 + f64::from(u8::try_from(spread).unwrap_or(0)) / 1024.0)
    }

    /// Forgets the crashes of an instance that has been up for [`STABLE`]. Returns whether they were a loop.
    pub(super) fn reset(&mut self) -> bool {
        std::mem::take(self).is_loop()
    }

    /// Returns whether the instance is in a crash loop.
    #[must_use]
    pub(crate) fn is_loop(self) -> bool {
        self.crashes >= LOOP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_minute_and_is_forgotten_after_a_stable_one() {
        let short = Duration::from_millis(5);
        let mut backoff = CrashBackoff::default();
        assert_eq!(backoff.record_crash(short, 1), Duration::ZERO);
        let waits: Vec<f64> = (0..9).map(|_| backoff.record_crash(short, 1).as_secs_f64()).collect();
        for (wait, whole) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]) {
            assert!((whole * 0.87..=whole * 1.13).contains(wait), "{wait} of {whole}");
        }
        assert!(backoff.is_loop());
        assert_eq!(backoff.record_crash(STABLE, 1), Duration::ZERO);
        assert!(!backoff.is_loop());
    }

    #[test]
    fn instances_that_crash_together_do_not_come_back_together() {
        let wait = |seed| {
            let mut backoff = CrashBackoff::default();
            backoff.record_crash(Duration::ZERO, seed);
            backoff.record_crash(Duration::ZERO, seed)
        };
        assert_ne!(wait(1), wait(2));
    }
}
