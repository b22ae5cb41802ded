//! The caller's own terminal: its size, and raw mode while the command has another one.

use std::io::{self, stderr, stdin, stdout};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

/// Size of an unknown terminal.
const DEFAULT_SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// Returns the size of the caller's terminal, or a usual size without one.
pub(crate) fn size() -> Winsize {
    own_size().unwrap_or(DEFAULT_SIZE)
}

/// Returns the size of the caller's terminal.
pub(crate) fn own_size() -> Option<Winsize> {
    tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout())).or_else(|_| tcgetwinsize(stderr())).ok()
}

/// Keeps the caller's terminal in raw mode as long as it lives.
pub(crate) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Returns `None` if stdin is not a terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let Ok(before) = tcgetattr(stdin()) else { return Ok(None) };
        let raw = Self { before };
        raw.set_raw()?;
        Ok(Some(raw))
    }

    /// Sets raw mode again after a stop: the shell has set its own modes meanwhile.
    pub(crate) fn set_raw(&self) -> io::Result<()> {
        let mut modes = self.before.clone();
        modes.make_raw();
        Ok(tcsetattr(stdin(), OptionalActions::Now, &modes)?)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // In the background another process owns the terminal.
        if tcgetpgrp(stdin()).is_ok_and(|foreground| foreground != getpgrp()) {
            return;
        }
        // If that changes just now, it must not stop us.
        let stop = SigSet::from_iter([Signal::SIGTTOU]);
        let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), None);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
