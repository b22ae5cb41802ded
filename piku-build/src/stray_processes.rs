//! What a step outside of the jail leaves running: a process with a session of its own is not in the step's group, and
//! would keep the app's lock, which it has inherited, for as long as it lives. The build takes up such orphans and ends
//! them; inside the jail the kernel does that with the jail's first process.

#![expect(clippy::disallowed_methods, reason = "reads what the kernel says of processes")]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Whether orphans come to this process; then all its children are a step's.
static ADOPTS: AtomicBool = AtomicBool::new(false);
/// Each round ends a generation. What forks faster than it can be ended is given up at last.
const ROUNDS: usize = 1000;

/// Makes this process the parent of what its steps orphan.
pub(crate) fn adopt() -> anyhow::Result<()> {
    set_child_subreaper(true).context("cannot take up orphans")?;
    ADOPTS.store(true, Ordering::SeqCst);
    Ok(())
}

/// Ends all that is left of the step that has just been waited for.
pub(crate) fn end() {
    if !ADOPTS.load(Ordering::SeqCst) {
        return;
    }
    for _ in 0..ROUNDS {
        let mut ended = false;
        for pid in children() {
            // A program with another user's rights cannot be ended, and is not waited for.
            if kill(pid, Signal::SIGKILL).is_ok() {
                let _ = waitpid(pid, None);
                ended = true;
            }
        }
        if !ended {
            return;
        }
    }
}

/// The children of all threads; none where the kernel does not tell.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .map(Pid::from_raw)
        .collect()
}
