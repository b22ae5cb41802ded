//! The caller's keyrings, which may hold keys of other apps. The seccomp filter keeps a command away from all
//! keyrings. Only if the kernel has no seccomp does each jail get its own session keyring: a user may have
//! 200 of them (kernel.keys.maxkeys), which would bound the number of jails.

use anyhow::{Context, Result};
use nix::libc::{ENOSYS, EPERM};

use crate::sys;

/// Returns whether this process may use keyrings.
pub(crate) fn is_available() -> bool {
    sys::has_keyrings()
}

/// Replaces the caller's session keyring by a new empty one. With `strict`, a kernel without keyrings is an
/// error.
pub(crate) fn join_new_session(strict: bool) -> Result<()> {
    match sys::new_session_keyring() {
        // The kernel has no keyrings, or an outer sandbox refuses them to the command too.
        Err(err) if !strict && matches!(err.raw_os_error(), Some(ENOSYS | EPERM)) => Ok(()),
        result => result.context("cannot begin a session keyring (kernel.keys.maxkeys limits them)"),
    }
}
