//! Questions to the supervisors of several apps at once: a few that do not respond delay no other.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Largest number of questions at a time. Each needs a thread, of which a user may have a limited number.
const MAX_THREADS: usize = 32;

/// Time without an answer after which the next question is asked beside those that wait. Threads that answer fast would
/// mostly wait for each other's memory: one takes half the processor time of many.
const PATIENCE: Duration = Duration::from_millis(10);

/// Asks all, several at a time where answers are late, with fewer threads if the system has no more; returns the answers
/// in the same order.
pub(crate) fn ask_all<T: Sync, A: Send>(asked: &[T], ask: impl Fn(&T) -> A + Sync) -> Vec<A> {
    ask_with(asked, ask, PATIENCE)
}

/// Does the same with a patience of the caller's.
fn ask_with<T: Sync, A: Send>(asked: &[T], ask: impl Fn(&T) -> A + Sync, patience: Duration) -> Vec<A> {
    let next = AtomicUsize::new(0);
    let (answered, answers) = mpsc::channel();
    let work = |answered: mpsc::Sender<(usize, A)>| {
        while let Some((index, one)) = take_next(asked, &next) {
            // The receiver lives until the last answer.
            let _ = answered.send((index, ask(one)));
        }
    };
    let work = &work;
    let mut found = thread::scope(|scope| {
        let mut found = Vec::with_capacity(asked.len());
        let mut threads: Vec<thread::ScopedJoinHandle<'_, ()>> = Vec::new();
        while found.len() < asked.len() {
            match answers.recv_timeout(if threads.is_empty() { Duration::ZERO } else { patience }) {
                Ok(answer) => found.push(answer),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let is_left = next.load(Ordering::Relaxed) < asked.len();
                    let mine = answered.clone();
                    if is_left && threads.len() < MAX_THREADS {
                        let thread = thread::Builder::new().spawn_scoped(scope, move || work(mine));
                        match thread {
                            Ok(thread) => threads.push(thread),
                            Err(_) if threads.is_empty() => work(answered.clone()),
                            Err(_) => {}
                        }
                    } else if threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                        // One of them has panicked, or the last answers are in the channel.
                        found.extend(answers.try_iter());
                        break;
                    }
                }
            }
        }
        for thread in threads {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        found
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, answer)| answer).collect()
}

/// Takes the next question.
fn take_next<'a, T>(asked: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    asked.get(index).map(|one| (index, one))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Barrier, Mutex};

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

    #[test]
    fn another_thread_starts_only_when_an_answer_is_late() {
        let threads = Mutex::new(HashSet::new());
        let answers = ask_with(
            &[(); 50],
            |()| {
                threads.lock().unwrap().insert(thread::current().id());
                // Others that were started would get the next question.
                thread::sleep(Duration::from_millis(1));
            },
            Duration::MAX,
        );
        assert_eq!((answers.len(), threads.into_inner().unwrap().len()), (50, 1));
    }
}
