//! A pipe with the output of a step, whose reader says from time to time that a silent step still runs.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use piku_report::progress;
use piku_report::reminder::ReminderTimer;

/// Time without a shown line after which the first reminder is printed.
const FIRST_REMINDER: Duration = Duration::from_secs(20);
/// Longest time between two reminders.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Decides when a silent step is mentioned.
#[derive(Debug)]
pub(crate) struct SilenceWatch {
    name: &'static str,
    begin: Instant,
    timer: ReminderTimer,
}

impl SilenceWatch {
    pub(crate) fn new(name: &'static str) -> Self {
        let begin = Instant::now();
        Self { name, begin, timer: ReminderTimer::new(FIRST_REMINDER, MAX_PAUSE, begin) }
    }

    /// Records that a line was shown.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.timer.restart(now);
    }

    /// Returns the reminder if it is due.
    fn take_reminder(&mut self, now: Instant) -> Option<String> {
        if !self.timer.take_due(now) {
            return None;
        }
        let seconds = now.saturating_duration_since(self.begin).as_secs();
        Some(format!("{} still runs after {seconds} s", self.name))
    }
}

/// The read end of a step's output.
#[derive(Debug)]
pub(crate) struct WatchedOutput {
    output: File,
    pub(crate) watch: SilenceWatch,
    /// Set once the step has ended: processes that outlived it may hold the pipe open.
    has_ended: Arc<AtomicBool>,
}

impl WatchedOutput {
    pub(crate) fn new(output: File, watch: SilenceWatch, has_ended: Arc<AtomicBool>) -> Self {
        Self { output, watch, has_ended }
    }
}

impl Read for WatchedOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let now = Instant::now();
            let is_running = !self.has_ended.load(Ordering::Relaxed);
            if let Some(text) = self.watch.take_reminder(now).filter(|_| is_running) {
                progress::detail(&text);
            }
            let left = self.watch.timer.next().saturating_duration_since(now);
            let left = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)], left) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.output.read(buffer),
                Err(err) => return Err(err.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_get_rarer_until_a_line_is_shown() {
        let mut watch = SilenceWatch::new("pip");
        let begin = watch.begin;
        let said =
            |watch: &mut SilenceWatch, seconds| watch.take_reminder(begin + Duration::from_secs(seconds));
        let due = |watch: &mut SilenceWatch, range: std::ops::Range<u64>| {
            range.filter(|at| said(watch, *at).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(due(&mut watch, 0..800), [20, 60, 140, 300, 600]);
        watch.hear(begin + Duration::from_secs(800));
        assert_eq!(said(&mut watch, 819), None);
        assert_eq!(said(&mut watch, 820).as_deref(), Some("pip still runs after 820 s"));
    }
}
