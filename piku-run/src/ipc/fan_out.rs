//! Questions to the supervisors of several apps at once: a few that do not respond delay no other.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Largest number of questions at a time. Each needs a thread, of which a user may have a limited number.
const MAX_THREADS: usize = 32;

/// Asks all in parallel, with fewer threads if the system has no more; returns the answers in the same order.
pub(crate) fn ask_all<T: Sync, A: Send>(asked: &[T], ask: impl Fn(&T) -> A + Sync) -> Vec<A> {
    let next = AtomicUsize::new(0);
    let ask_next = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        asked.get(index).map(|one| (index, ask(one)))
    };
    let work = || std::iter::from_fn(ask_next).collect::<Vec<_>>();
    let mut answers = thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let threads: Vec<_> = (1..asked.len().min(MAX_THREADS)).map_while(start).collect();
        let mut answers = work();
        for thread in threads {
            answers.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        answers
    });
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn answers_have_the_order_of_the_questions_and_a_bound_of_threads() {
        let asked: Vec<usize> = (0..MAX_THREADS * 20).collect();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // All threads meet at each question, so that all are used.
        let all = Barrier::new(MAX_THREADS);
        let answers = ask_all(&asked, |one| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            all.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            one * 2
        });
        assert_eq!(answers, asked.iter().map(|one| one * 2).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), MAX_THREADS);
        assert!(ask_all(&[0; 0], |one| *one).is_empty());
    }
}
