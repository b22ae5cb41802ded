//! Memory of a service that waits for days: what a start or a request has needed is released soon afterwards.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Time without work after which memory is released. Later work reads pages of the program again.
const QUIET: Duration = Duration::from_secs(1);

/// The same after output of an instance, which comes often.
const SILENT: Duration = Duration::from_secs(30);

/// Releases the memory of this process once after each piece of work.
#[derive(Debug)]
pub(crate) struct IdleMemory {
    /// Time of the next release; `None` if there was no work since the last one.
    due: Cell<Option<Instant>>,
}

impl IdleMemory {
    /// Starts for a process that has just started.
    pub(crate) fn new() -> Self {
        Self { due: Cell::new(Some(Instant::now() + QUIET)) }
    }

    /// Notes that there was work.
    pub(crate) fn note_work(&self) {
        self.due.set(Some(Instant::now() + QUIET));
    }

    /// Notes that output was read.
    pub(crate) fn note_output(&self) {
        if self.due.get().is_none() {
            self.due.set(Some(Instant::now() + SILENT));
        }
    }

    /// Returns the time until the next release; `None` if it is due or there is nothing to release.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let left = self.due.get()?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Releases the memory if it is time; the last call before the process waits.
    pub(crate) fn release_when_due(&self) {
        if self.due.get().is_some_and(|due| due <= Instant::now()) {
            self.due.set(None);
            piku_chroot::release_memory();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_released_once_after_work() {
        let memory = IdleMemory::new();
        memory.release_when_due();
        assert!(memory.time_left().is_some_and(|left| left <= QUIET));
        // Output does not delay it.
        memory.note_output();
        assert!(memory.time_left().is_some_and(|left| left <= QUIET));
        memory.due.set(Some(Instant::now()));
        assert!(memory.due.get().is_some() && memory.time_left().is_none());
        memory.release_when_due();
        assert_eq!((memory.due.get(), memory.time_left()), (None, None));
        memory.note_output();
        assert!(memory.time_left().is_some_and(|left| left > QUIET));
        memory.note_work();
        assert!(memory.time_left().is_some_and(|left| left <= QUIET));
    }
}
