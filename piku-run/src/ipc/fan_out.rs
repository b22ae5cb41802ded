//! Questions to the supervisors of several apps at once: one that does not respond delays no other.

use std::panic::resume_unwind;
use std::thread;

/// Asks all in parallel; returns the answers in the same order.
pub(crate) fn ask_all<T: Sync, A: Send>(asked: &[T], ask: impl Fn(&T) -> A + Sync) -> Vec<A> {
    thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = asked.iter().map(|one| scope.spawn(move || ask(one))).collect();
        threads.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}
