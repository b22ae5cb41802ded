//! Times of messages about something that takes long.

use std::time::{Duration, Instant};

/// A timer whose pauses get longer: each is twice as long as the one before.
#[derive(Debug, Clone)]
pub struct ReminderTimer {
    first: Duration,
    longest: Duration,
    pause: Duration,
    next: Instant,
}

impl ReminderTimer {
    /// Starts at `now`, with the `first` pause.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, now: Instant) -> Self {
        Self { first, longest, pause: first, next: now + first }
    }

    /// Starts again at `now`.
    pub fn restart(&mut self, now: Instant) {
        *self = Self::new(self.first, self.longest, now);
    }

    /// Returns true if a message is due, and sets the time of the next one.
    pub fn take_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.pause = (self.pause * 2).min(self.longest);
            self.next = now + self.pause;
        }
        is_due
    }

    /// Returns the time of the next message.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.next
    }
}
