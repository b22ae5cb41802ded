//! Where what a worker wrote stands between its fifo and its log, so that a supervisor killed at any instant loses none of it
//! and writes none of it twice.
//!
//! Bytes go from the fifo into the spool by `splice`: for a signal that is one step, they are in the one or in the other. A
//! mark at the spool's begin says what is about to be written to which place of the log, and with which time; the next
//! supervisor finds there, byte for byte, how far that went. The spool is emptied when the log has it all, long before a disk
//! would see any of it.

#![expect(clippy::disallowed_methods, reason = "the spool of a log, which only piku writes")]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;
use rustix::pipe::{SpliceFlags, splice};

use super::checkpoint::{HEAD, SpoolCheckpoint};
use super::writer::LogWriter;

/// How much is taken at a time: what one worker says loudest must not silence the others.
const BLOCK: usize = 64 * 1024;
/// A worker's fifo and its spool.
#[derive(Debug)]
pub struct LogIntake {
    fifo: File,
    /// Nothing where there is none to be had, or lines are gathered in memory: then what is between the two is lost with the
    /// supervisor.
    spool: Option<File>,
    buffer: Vec<u8>,
}

impl LogIntake {
    /// Takes from this fifo; what the supervisor before had in the spool goes to the log first.
    #[must_use]
    pub fn open(fifo: OwnedFd, spool: &Path, log: &mut LogWriter) -> Self {
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(spool);
        let spool = options.and_then(|spool| recover(&spool, log).map(|()| spool)).ok();
        let spool = spool.filter(|_| !log.gathers());
        Self { fifo: File::from(fifo), spool, buffer: vec![0; BLOCK] }
    }

    /// Logs what waits in the fifo, up to a block of it; the bytes, or nothing when none waited.
    pub fn take(&mut self, log: &mut LogWriter) -> Option<&[u8]> {
        let count = match self.fill() {
            Ok(0) => return None,
            Ok(count) => count,
            Err(err) if err.kind() == ErrorKind::Interrupted => 0,
            Err(_) => return None,
        };
        let bytes = &self.buffer[..count];
        let spool = self.spool.as_ref();
        log.take_in(bytes, Timestamp::now(), &mut |mark| note(spool, mark));
        empty(spool);
        Some(bytes)
    }

    fn fill(&mut self) -> io::Result<usize> {
        if let Some(spool) = &self.spool {
            let mut place = HEAD as u64;
            let moved = splice(&self.fifo, None, spool, Some(&mut place), BLOCK, SpliceFlags::NONBLOCK);
            match moved.map_err(io::Error::from) {
                Ok(count) => {
                    spool.read_exact_at(&mut self.buffer[..count], HEAD as u64)?;
                    return Ok(count);
                }
                Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return Err(err);
                }
                // A full disk takes no spool; the log counts what is lost then.
                Err(_) => empty(Some(spool)),
            }
        }
        self.fifo.read(&mut self.buffer)
    }
}

impl AsFd for LogIntake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

/// Brings what a killed supervisor had in the spool to the log.
///
/// # Errors
/// When the spool cannot be read.
pub fn recover(mut spool: &File, log: &mut LogWriter) -> io::Result<()> {
    let mut bytes = Vec::new();
    spool.read_to_end(&mut bytes)?;
    if let Some((head, bytes)) = bytes.split_at_checked(HEAD) {
        log.resume(bytes, SpoolCheckpoint::parse(head).as_ref(), &mut |mark| note(Some(spool), mark));
    }
    spool.set_len(0)
}

/// A mark that cannot be written costs nothing as long as nobody is killed.
fn note(spool: Option<&File>, mark: &SpoolCheckpoint) {
    if let Some(spool) = spool {
        let _ = spool.write_all_at(&mark.bytes(), 0);
    }
}

fn empty(spool: Option<&File>) {
    if let Some(spool) = spool {
        // Making a file shorter needs no room.
        let _ = spool.set_len(0);
    }
}

#[cfg(test)]
mod tests;
