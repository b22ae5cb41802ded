//! A limit of time for reading from programs, writing to them and waiting for them.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::process::wait::{PollInterest, READ, wait};

/// Bytes that a pipe takes at once when it is ready: as many as `PIPE_BUF`.
const READY: usize = 4096;
const WRITE: PollInterest = PollInterest { read: false, write: true };

/// The time at which something ends; never, by default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deadline(Option<(Instant, Duration)>);

/// The error of what did not end in time.
#[derive(Debug)]
struct TimeLimitExceeded(Duration);

impl fmt::Display for TimeLimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it took longer than {} h (max_hours)", self.0.as_secs_f64() / 3600.0)
    }
}

impl Error for TimeLimitExceeded {}

/// Returns true if something was ended by its deadline.
pub(crate) fn is_time_limit(err: &anyhow::Error) -> bool {
    let is_it =
        |err: &io::Error| err.get_ref().and_then(|err| err.downcast_ref::<TimeLimitExceeded>()).is_some();
    err.chain().filter_map(|cause| cause.downcast_ref()).any(is_it)
}

impl Deadline {
    /// Ends after this time from now.
    pub(crate) fn after(limit: Duration) -> Self {
        // None is as far away as the clock goes.
        Self(Instant::now().checked_add(limit).map(|at| (at, limit)))
    }

    /// Fails if the time is over.
    pub(crate) fn check(self) -> io::Result<()> {
        match self.0 {
            Some((at, limit)) if Instant::now() >= at => {
                Err(io::Error::new(ErrorKind::TimedOut, TimeLimitExceeded(limit)))
            }
            _ => Ok(()),
        }
    }

    /// Waits until a descriptor is ready, or the time is over.
    fn wait_for(self, descriptor: BorrowedFd<'_>, interest: PollInterest) -> io::Result<()> {
        let Some((at, _)) = self.0 else { return Ok(()) };
        loop {
            self.check()?;
            let left = at.saturating_duration_since(Instant::now());
            let ready = wait(&[(descriptor, interest, ())], Some(left)).map_err(io::Error::other)?;
            if !ready.is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits until a program has ended, or the time is over. Its status is still to be read.
    pub(crate) fn wait_end(self, child: &Child) -> io::Result<()> {
        if self.0.is_none() {
            return Ok(());
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        self.wait_for(pidfd.as_fd(), READ)
    }

    /// Waits for the end of a program; kills it when the time is over.
    pub(crate) fn wait_child(self, child: &mut Child) -> io::Result<ExitStatus> {
        if let Err(err) = self.wait_end(child) {
            end_child(child);
            return Err(err);
        }
        child.wait()
    }
}

/// Kills a program that is not needed any more.
pub(crate) fn end_child(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A pipe with a deadline.
#[derive(Debug)]
pub(crate) struct TimedPipe<T> {
    pub(crate) pipe: T,
    pub(crate) deadline: Deadline,
}

impl<T: Read + AsFd> Read for TimedPipe<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.deadline.wait_for(self.pipe.as_fd(), READ)?;
        self.pipe.read(into)
    }
}

impl<T: Write + AsFd> Write for TimedPipe<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.deadline.wait_for(self.pipe.as_fd(), WRITE)?;
        let most = if self.deadline.0.is_some() { READY } else { bytes.len() };
        self.pipe.write(&bytes[..bytes.len().min(most)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn programs_that_never_end_are_given_up() {
        let sleep = || {
            let mut command = Command::new("sleep");
            command.arg("1000").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        };
        let deadline = Deadline::after(Duration::from_millis(20));
        let is_over = |err: io::Error| is_time_limit(&anyhow::Error::new(err).context("x"));
        let mut child = sleep();
        let mut output = TimedPipe { pipe: child.stdout.take().unwrap(), deadline };
        assert!(is_over(output.read(&mut [0]).unwrap_err()));
        let mut input = TimedPipe {
            pipe: child.stdin.take().unwrap(),
            deadline: Deadline::after(Duration::from_millis(20)),
        };
        assert!(is_over(input.write_all(&vec![0; 1 << 20]).unwrap_err()), "more than a pipe takes");
        assert!(is_over(deadline.wait_child(&mut child).unwrap_err()));
        assert!(child.try_wait().unwrap().is_some(), "it was killed");
        assert!(!is_over(ErrorKind::TimedOut.into()), "that of a file system");
    }

    #[test]
    fn programs_that_end_in_time_are_read_to_their_end() {
        for deadline in
            [Deadline::default(), Deadline::after(Duration::MAX), Deadline::after(Duration::from_secs(1000))]
        {
            let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut input = TimedPipe { pipe: cat.stdin.take().unwrap(), deadline };
            let mut output = TimedPipe { pipe: cat.stdout.take().unwrap(), deadline };
            let writer = std::thread::spawn(move || input.write_all(&vec![7; 1 << 20]).unwrap());
            let mut all = Vec::new();
            output.read_to_end(&mut all).unwrap();
            writer.join().unwrap();
            assert_eq!(all, vec![7; 1 << 20]);
            assert!(deadline.wait_child(&mut cat).unwrap().success());
        }
    }
}
