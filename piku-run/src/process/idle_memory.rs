//! Memory of a service that waits for days: what a start or a request has needed is released soon afterwards.

use std::time::{Duration, Instant};

/// Time without work after which memory is released. Later work reads pages of the program again.
const QUIET: Duration = Duration::from_secs(1);

/// Releases the memory of this process once after each piece of work.
#[derive(Debug)]
pub(crate) struct IdleMemory {
    /// Time of the next release; `None` if there was no work since the last one.
    due: Option<Instant>,
}

impl IdleMemory {
    /// For a process that has just started.
    pub(crate) fn new() -> Self {
        Self { due: Some(Instant::now() + QUIET) }
    }

    /// Notes that there was work.
    pub(crate) fn note_work(&mut self) {
        self.due = Some(Instant::now() + QUIET);
    }

    /// Releases the memory if it is time. Returns the time until then; `None` if there is nothing to release.
    pub(crate) fn release_when_due(&mut self) -> Option<Duration> {
        let left = self.due?.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        self.due = None;
        piku_chroot::release_memory();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_released_once_after_work() {
        let mut memory = IdleMemory::new();
        assert!(memory.release_when_due().is_some_and(|left| left <= QUIET));
        memory.due = Some(Instant::now());
        assert_eq!((memory.release_when_due(), memory.release_when_due()), (None, None));
        memory.note_work();
        assert!(memory.release_when_due().is_some());
    }
}
