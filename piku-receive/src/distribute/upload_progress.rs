//! Progress of a long upload: a line with bytes and percent from time to time.

use std::time::{Duration, Instant};

use piku_files::free_space::size;
use piku_report::reminder::ReminderTimer;

/// Time until the first line.
const FIRST_LINE: Duration = Duration::from_secs(5);
/// Longest time between two lines.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Decides when the progress of an upload is printed.
#[derive(Debug)]
pub(super) struct UploadProgress {
    /// Size of the file in bytes.
    total: u64,
    timer: ReminderTimer,
}

impl UploadProgress {
    pub(super) fn new(total: u64, now: Instant) -> Self {
        Self { total, timer: ReminderTimer::new(FIRST_LINE, MAX_PAUSE, now) }
    }

    /// Returns the line after `done` bytes, if it is due.
    pub(super) fn take_line(&mut self, done: u64, now: Instant) -> Option<String> {
        if done >= self.total || !self.timer.take_due(now) {
            return None;
        }
        let percent = u128::from(done) * 100 / u128::from(self.total);
        Some(format!("{} of {} sent ({percent} %)", size(done), size(self.total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_from_time_to_time() {
        let begin = Instant::now();
        let mut progress = UploadProgress::new(80 << 20, begin);
        let mut line = |seconds, done| progress.take_line(done, begin + Duration::from_secs(seconds));
        assert_eq!(line(4, 1 << 20), None);
        assert_eq!(line(5, 12 << 20).as_deref(), Some("12.0 MiB of 80.0 MiB sent (15 %)"));
        assert_eq!(line(14, 20 << 20), None);
        assert_eq!(line(15, 40 << 20).as_deref(), Some("40.0 MiB of 80.0 MiB sent (50 %)"));
        assert_eq!(line(99, 80 << 20), None, "the end has its own line");
        assert_eq!(UploadProgress::new(0, begin).take_line(0, begin + MAX_PAUSE), None);
    }
}
