//! The caller's own terminal: its size, and raw mode while the command has another one.

use std::io::{self, stderr, stdin, stdout};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

/// What a terminal has of which nothing is known.
const USUAL: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// The size of the caller's terminal.
pub(crate) fn size() -> Winsize {
    own_size().unwrap_or(USUAL)
}

/// The same, when it has one.
pub(crate) fn own_size() -> Option<Winsize> {
    tcgetwinsize(stdin()).or_else(|_| tcgetwinsize(stdout())).or_else(|_| tcgetwinsize(stderr())).ok()
}

/// The caller's terminal passes every key on, as long as this lives.
pub(crate) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// `None` when stdin is no terminal.
    pub(crate) fn begin() -> io::Result<Option<Self>> {
        let Ok(before) = tcgetattr(stdin()) else { return Ok(None) };
        let raw = Self { before };
        raw.again()?;
        Ok(Some(raw))
    }

    /// After a stop: the shell has set its own modes meanwhile.
    pub(crate) fn again(&self) -> io::Result<()> {
        let mut modes = self.before.clone();
        modes.make_raw();
        Ok(tcsetattr(stdin(), OptionalActions::Now, &modes)?)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // In the background the terminal is somebody else's by now.
        if tcgetpgrp(stdin()).is_ok_and(|foreground| foreground != getpgrp()) {
            return;
        }
        // Should that change just here, we are not to be stopped by it.
        let stop = SigSet::from_iter([Signal::SIGTTOU]);
        let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), None);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
