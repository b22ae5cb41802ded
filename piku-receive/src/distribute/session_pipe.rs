//! A pipe from an ssh that ends with it.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Time for further output after ssh has ended, from processes that it has started.
const AFTER_END: Duration = Duration::from_secs(1);
/// Bytes that may follow after the end; no pipe holds more.
const LONGEST_REST: u64 = 1 << 20;

/// Read end of a pipe that ends with ssh, even if other processes keep the write end open: a `ProxyCommand`,
/// or the connection of `ControlPersist`.
pub(super) struct SessionPipe<R> {
    pipe: R,
    process: OwnedFd,
    /// Time at which the process ended.
    ended: Option<Instant>,
    /// Bytes that may still follow after the end.
    left: u64,
}

impl<R: Read + AsFd> SessionPipe<R> {
    pub(super) fn new(pipe: R, process: OwnedFd) -> Self {
        Self { pipe, process, ended: None, left: LONGEST_REST }
    }
}

impl<R: Read + AsFd> Read for SessionPipe<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended.is_none() {
            let [_, has_ended] = wait_readable([self.pipe.as_fd(), self.process.as_fd()], None)?;
            self.ended = has_ended.then(Instant::now);
        }
        let Some(ended) = self.ended else { return self.pipe.read(buffer) };
        let [is_ready] = wait_readable([self.pipe.as_fd()], Some(AFTER_END.saturating_sub(ended.elapsed())))?;
        if !is_ready || self.left == 0 {
            return Ok(0);
        }
        let read = self.pipe.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// Waits until a descriptor is readable or closed, at most for `time`, and returns which.
fn wait_readable<const N: usize>(fds: [BorrowedFd<'_>; N], time: Option<Duration>) -> io::Result<[bool; N]> {
    let mut watched = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let time = time.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    loop {
        match poll(&mut watched, time) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(watched.map(|one| one.any().unwrap_or(true))),
        }
    }
}
