//! Default signal dispositions, for which no crate has a safe function. A supervisor started with SIGCHLD
//! ignored would never learn that its instances end, and would pass that on to them.

#![expect(unsafe_code, reason = "no crate has a safe function for this")]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Sets every signal to its default disposition. Signals that the caller ignores would stay ignored after
/// exec.
///
/// SIGPIPE stays ignored here, as Rust sets it; std restores it in programs that it starts.
pub(crate) fn default_dispositions() {
    for one in Signal::iterator().filter(|one| *one != Signal::SIGPIPE) {
        // SAFETY: the default disposition is not a handler, so no code of this program runs in signal
        // context. SIGKILL and SIGSTOP return an error, which is harmless.
        let _ = unsafe { signal(one, SigHandler::SigDfl) };
    }
}

/// Interrupts the system call in which a thread waits.
#[cfg(test)]
pub(crate) fn interrupt<T>(thread: &std::thread::JoinHandle<T>) {
    use std::os::unix::thread::JoinHandleExt;

    extern "C" fn ignore(_: i32) {}
    // SAFETY: the handler does nothing, and the id of a thread is valid until it is joined.
    unsafe {
        signal(Signal::SIGURG, SigHandler::Handler(ignore)).unwrap();
        nix::libc::pthread_kill(thread.as_pthread_t(), Signal::SIGURG as i32);
    }
}
