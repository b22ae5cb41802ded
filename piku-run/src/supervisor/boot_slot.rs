//! Boot slots: at boot the daemon starts as many apps at once as there are processors. A supervisor frees
//! its slot by closing its end of a pipe, which is its stdin.

#![expect(clippy::disallowed_methods, reason = "/dev/null of the machine")]

use std::fs::File;
use std::io::stdin;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use anyhow::Context;
use nix::unistd::dup2_stdin;

/// Time after which the other apps no longer wait for this one.
const LONGEST: Duration = Duration::from_secs(30);

/// End of the pipe on which the daemon waits.
#[derive(Debug)]
pub(super) struct BootTurn(Option<OwnedFd>);

impl BootTurn {
    /// Takes the pipe from stdin, so that no child process inherits it.
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

    /// Frees the slot once no instance is starting or the time is up. Returns the remaining time.
    pub(super) fn release_when_up(&mut self, starts: bool, since: Duration) -> Option<Duration> {
        if !starts || since >= LONGEST {
            self.0 = None;
        }
        self.0.as_ref().map(|_| LONGEST.saturating_sub(since))
    }
}
