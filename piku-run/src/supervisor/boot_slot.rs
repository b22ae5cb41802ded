//! A supervisor's turn at boot. The daemon starts no more apps at once than there are processors, and knows that one is up when
//! its end of a pipe, this process's stdin, is closed.

#![expect(clippy::disallowed_methods, reason = "/dev/null of the machine")]

use std::fs::File;
use std::io::stdin;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use anyhow::Context;
use nix::unistd::dup2_stdin;

/// An app that is not up by then is none for the others to wait for.
const LONGEST: Duration = Duration::from_secs(30);

/// What the daemon waits for, if it does.
#[derive(Debug)]
pub(super) struct BootTurn(Option<OwnedFd>);

impl BootTurn {
    /// Takes it from stdin, which nobody who is started from here inherits.
    pub(super) fn take() -> anyhow::Result<Self> {
        let held = File::from(stdin().as_fd().try_clone_to_owned().context("cannot copy stdin")?);
        let is_pipe = held.metadata().is_ok_and(|about| about.file_type().is_fifo());
        if !is_pipe {
            return Ok(Self(None));
        }
        let null = File::open("/dev/null").context("cannot open '/dev/null'")?;
        dup2_stdin(null).context("cannot set stdin")?;
        Ok(Self(Some(held.into())))
    }

    /// Ends it when nothing starts any more, or the time is up; how long it may still take.
    pub(super) fn tend(&mut self, starts: bool, since: Duration) -> Option<Duration> {
        if !starts || since >= LONGEST {
            self.0 = None;
        }
        self.0.as_ref().map(|_| LONGEST.saturating_sub(since))
    }
}
