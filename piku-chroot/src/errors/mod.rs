//! Exit codes and error messages.

pub(crate) mod diagnosis;
pub(crate) mod kernel_version;

use std::path::Path;

use piku_report::user_error;

/// Exit code when piku-chroot itself fails, as in chroot(1) and env(1).
pub const SETUP_FAILED: u8 = 125;
/// Exit code when the command exists and cannot be run.
pub(crate) const CANNOT_RUN: u8 = 126;
/// Exit code when the command does not exist.
pub(crate) const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that killed the command.
pub(crate) const SIGNAL_BASE: u8 = 128;

/// Prints an error that kept the command from starting and returns the exit code for it.
pub(crate) fn print_error(err: &anyhow::Error) -> u8 {
    let _ = user_error::report("piku-chroot", err);
    if let Some(hint) = diagnosis::missing_call_hint(err) {
        user_error::tell(&format!("hint: {hint}"));
    }
    SETUP_FAILED
}

/// Quotes a path for a message, with control characters escaped.
pub(crate) fn quoted(path: impl AsRef<Path>) -> String {
    format!("'{}'", path.as_ref().display().to_string().escape_debug())
}
