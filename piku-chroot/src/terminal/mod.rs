//! `--tty`: the command gets a terminal of the jail's own /dev/pts, and nothing of the caller's. What is typed and what is
//! printed goes through the monitor, so a program inside that fakes input (TIOCSTI) or changes modes does so to its own
//! terminal, which ends with it.
//!
//! The stub opens both sides, keeps none, and hands one to the command and the other, through a socket, to the monitor.

mod host_tty;
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

/// The device of the jail's own /dev/pts that makes terminals; `/dev/ptmx` may have been replaced.
const MAKER: &str = "/dev/pts/ptmx";

/// Makes a terminal in the jail, with the modes and the size of the caller's where it has one; returns the side that the
/// command gets. For the stub, when it has become who the command will be: the terminal belongs to who opened it.
pub(crate) fn open(monitor: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let make = || -> rustix::io::Result<_> {
        let master = rustix::fs::open(MAKER, flags, Mode::empty())?;
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

/// Makes the terminal that of this session, and all there is of input and output. For the command's process.
pub(crate) fn take(terminal: &OwnedFd) -> Result<()> {
    let take = || -> rustix::io::Result<()> {
        ioctl_tiocsctty(terminal)?;
        dup2_stdin(terminal)?;
        dup2_stdout(terminal)?;
        dup2_stderr(terminal)
    };
    take().map_err(io::Error::from).context("--tty: cannot take the terminal")
}
