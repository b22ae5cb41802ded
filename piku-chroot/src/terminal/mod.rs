//! `--tty`: the command gets a terminal of the jail's own /dev/pts, and nothing of the caller's. Input and
//! output go through the monitor, so a program that fakes input (TIOCSTI) or changes modes does so to its own
//! terminal, which ends with it.
//!
//! Init opens both sides, keeps neither, and passes one to the command and the other, through a socket, to
//! the monitor.

mod host_tty;
pub(crate) mod output_tail;
pub(crate) mod relay;

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr, tcsetwinsize};

use crate::fd_channel;

/// Device of the jail's own /dev/pts that makes terminals; an option may have replaced `/dev/ptmx`.
const PTMX: &str = "/dev/pts/ptmx";

/// Makes a terminal with the modes and the size of the caller's terminal, and returns the side of the
/// command. To be called by init as the command's user, who owns the terminal then.
pub(crate) fn open_terminal(monitor: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let make = || -> rustix::io::Result<_> {
        let master = rustix::fs::open(PTMX, flags, Mode::empty())?;
        unlockpt(&master)?;
        let slave =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        if let Ok(modes) = tcgetattr(io::stdin()) {
            tcsetattr(&slave, OptionalActions::Now, &modes)?;
        }
        tcsetwinsize(&slave, host_tty::size())?;
        fd_channel::send_fd(monitor, &master)?;
        Ok(slave)
    };
    make().map_err(io::Error::from).context("--tty: cannot make a terminal")
}

/// Makes the terminal the controlling one of this session, and its stdin, stdout and stderr. To be called in
/// the command's process.
pub(crate) fn attach_terminal(terminal: &OwnedFd) -> Result<()> {
    let attach = || -> rustix::io::Result<()> {
        ioctl_tiocsctty(terminal)?;
        dup2_stdin(terminal)?;
        dup2_stdout(terminal)?;
        dup2_stderr(terminal)
    };
    attach().map_err(io::Error::from).context("--tty: cannot take the terminal")
}
