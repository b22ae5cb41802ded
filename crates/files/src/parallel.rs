//! Work on many items in a few threads.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Number of threads for work on directories. The kernel makes links in different ones at the same time.
pub(crate) const THREADS: usize = 2;
/// Number of directories from which on more than one thread is worth its start.
pub(crate) const MANY_FOLDERS: usize = 16;

/// Calls `work` for each item, in this thread and `threads - 1` others. Returns the first error; each thread ends at its
/// own. `panicked` makes the error for a thread that has panicked.
pub(crate) fn work_on_all<T: Send, E: Send>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> Result<(), E> + Sync,
    panicked: impl Fn(io::Error) -> E,
) -> Result<(), E> {
    let items = Mutex::new(items);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work_on_next = || {
        while let Some(item) = next() {
            work(item)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work_on_next)).collect();
        others.into_iter().fold(work_on_next(), |done, other| {
            let other = other.join().unwrap_or_else(|_| Err(panicked(io::Error::other("it panicked"))));
            done.and(other)
        })
    })
}
