//! The session keyring: a new empty one. The caller's may hold keys of other apps.

use anyhow::{Context, Result};
use nix::libc::{ENOSYS, EPERM};

use crate::sys;

/// Whether this kernel has them.
pub(crate) fn available() -> bool {
    sys::has_keyrings()
}

/// Begins it; without it nothing starts when `strict`.
pub(crate) fn begin(strict: bool) -> Result<()> {
    match sys::new_session_keyring() {
        // No keyrings in this kernel, or an outer sandbox that refuses them here as it will refuse them to the command.
        Err(err) if !strict && matches!(err.raw_os_error(), Some(ENOSYS | EPERM)) => Ok(()),
        result => result.context("cannot begin a session keyring (kernel.keys.maxkeys limits them)"),
    }
}
