//! The one thing that no crate offers as a safe function: giving signals their default disposition back. A supervisor
//! started with SIGCHLD ignored would never learn how its workers end, and would hand that on to them.

#![expect(unsafe_code, reason = "no crate has a safe function for this")]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Gives every signal its default disposition; what a caller had ignored would stay ignored after exec too.
///
/// SIGPIPE stays as Rust sets it: ignored here, and set back by std in every program that is started.
pub(crate) fn default_dispositions() {
    for one in Signal::iterator().filter(|one| *one != Signal::SIGPIPE) {
        // SAFETY: the default is no handler of ours, so no code of this program can run in a signal's context. SIGKILL and
        // SIGSTOP answer with an error that means nothing here.
        let _ = unsafe { signal(one, SigHandler::SigDfl) };
    }
}
