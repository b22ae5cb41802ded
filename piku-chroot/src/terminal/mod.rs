//! `--tty`: the command gets a terminal of the jail's own /dev/pts, and nothing of the caller's. What is typed and what is
//! printed goes through the monitor, so a program inside that fakes input (TIOCSTI) or changes modes does so to its own
//! terminal, which ends with it.
//!
//! The stub opens both sides, keeps none, and hands one to the command and the other, through a socket, to the monitor.

mod outer;
pub(crate) mod relay;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr, tcsetwinsize};

/// The device of the jail's own /dev/pts that makes terminals; `/dev/ptmx` may have been replaced.
const MAKER: &str = "/dev/pts/ptmx";

/// The way from the stub to the monitor, the monitor's end first.
pub(crate) fn way() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(io::Error::from)
        .context("--tty: cannot make a socket")
}

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
        tcsetwinsize(&slave, outer::size())?;
        send(monitor, &master)?;
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

fn send(way: &OwnedFd, master: &OwnedFd) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let master = [master.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&master));
    // A descriptor travels only beside a byte.
    sendmsg(way, &[IoSlice::new(b"t")], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for what [`open`] sends; `None` when the stub ended before.
pub(crate) fn receive(way: &OwnedFd) -> Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(way, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(io::Error::from)
        .context("--tty: cannot receive the terminal")?;
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}
