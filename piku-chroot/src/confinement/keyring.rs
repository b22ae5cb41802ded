//! The caller's keyrings, which may hold keys of other apps. The filter of system calls keeps a command from every keyring.
//! Only where the kernel has no filters does each jail get a session keyring of its own: a user may have 200 of them
//! (kernel.keys.maxkeys), which would bound the number of jails.

use anyhow::{Context, Result};
use nix::libc::{ENOSYS, EPERM};

use crate::sys;

/// Returns whether the kernel has keyrings that this process may use.
pub(crate) fn available() -> bool {
    sys::has_keyrings()
}

/// Leaves the caller's session keyring for a new empty one; without it nothing starts when `strict`.
pub(crate) fn begin(strict: bool) -> Result<()> {
    match sys::new_session_keyring() {
        // No keyrings in this kernel, or an outer sandbox that refuses them here as it will refuse them to the command.
        Err(err) if !strict && matches!(err.raw_os_error(), Some(ENOSYS | EPERM)) => Ok(()),
        result => result.context("cannot begin a session keyring (kernel.keys.maxkeys limits them)"),
    }
}
