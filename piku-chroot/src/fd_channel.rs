//! A socket on which one process sends descriptors to another: the jail's init to the monitor, or the maker of a user
//! namespace to its caller.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Largest number of descriptors that are sent at once.
const MOST: usize = 2;

/// Returns both ends.
pub(crate) fn open_channel() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(io::Error::from)
        .context("cannot make a socket")
}

/// Sends a descriptor.
pub(crate) fn send_fd(channel: impl AsFd, fd: impl AsFd) -> rustix::io::Result<()> {
    send_fds(channel, &[fd.as_fd()])
}

/// Sends up to [`MOST`] descriptors at once.
pub(crate) fn send_fds(channel: impl AsFd, fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(fds));
    // The kernel passes a descriptor only along with data.
    sendmsg(channel, &[IoSlice::new(b"d")], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for a descriptor. Returns `None` if the other process ends without sending one.
pub(crate) fn receive_fd(channel: impl AsFd) -> Result<Option<OwnedFd>> {
    Ok(receive_fds(channel)?.into_iter().next())
}

/// Waits for the descriptors that were sent at once; none if the other process ends without sending any.
pub(crate) fn receive_fds(channel: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(io::Error::from)
        .context("cannot receive a descriptor")?;
    let sent = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(sent.flatten().collect())
}
