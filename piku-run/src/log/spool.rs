//! The spool between an instance's fifo and its log: a supervisor killed at any instant neither loses output
//! nor writes it twice.
//!
//! `splice` moves bytes from the fifo to the spool in one step, so a kill finds them in one or the other. A
//! checkpoint at the start of the spool describes the next write to the log; with it the next supervisor
//! finds out, byte for byte, how far that write went. The spool is emptied once the log holds everything,
//! usually before it reaches the disk.

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

/// Bytes moved at a time; bounded so that one noisy instance does not delay the others.
const BLOCK: usize = 64 * 1024;

/// An instance's fifo and its spool.
#[derive(Debug)]
pub(crate) struct LogIntake {
    fifo: File,
    /// `None` if it cannot be opened or output is buffered in memory; a kill then loses what is in between.
    spool: Option<File>,
}

/// Memory for one block of output, shared by all intakes of a thread; it grows to the longest block.
#[derive(Debug, Default)]
pub(crate) struct BlockBuffer(Vec<u8>);

impl BlockBuffer {
    /// Returns room for this many bytes.
    fn room(&mut self, count: usize) -> &mut [u8] {
        if self.0.len() < count {
            self.0.resize(count, 0);
        }
        &mut self.0[..count]
    }
}

impl LogIntake {
    /// Starts reading a fifo, after moving what a previous supervisor left in the spool to the log.
    #[must_use]
    pub(crate) fn open(fifo: OwnedFd, spool: &Path, log: &mut LogWriter) -> Self {
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(spool);
        let spool = options.and_then(|spool| recover_spool(&spool, log).map(|()| spool)).ok();
        let spool = spool.filter(|_| !log.is_buffered());
        Self { fifo: File::from(fifo), spool }
    }

    /// Moves up to one block from the fifo to the log. Returns its bytes, or `None` if the fifo is empty.
    pub(crate) fn move_to_log<'a>(
        &mut self,
        log: &mut LogWriter,
        buffer: &'a mut BlockBuffer,
    ) -> Option<&'a [u8]> {
        let bytes: &[u8] = match self.read_block(buffer) {
            Ok([]) => return None,
            Ok(bytes) => bytes,
            Err(err) if err.kind() == ErrorKind::Interrupted => &[],
            Err(_) => return None,
        };
        let spool = self.spool.as_ref();
        log.append_output(bytes, Timestamp::now(), &mut |checkpoint| write_checkpoint(spool, checkpoint));
        truncate_spool(spool);
        Some(bytes)
    }

    fn read_block<'a>(&mut self, buffer: &'a mut BlockBuffer) -> io::Result<&'a [u8]> {
        if let Some(spool) = &self.spool {
            let mut offset = HEAD as u64;
            let moved = splice(&self.fifo, None, spool, Some(&mut offset), BLOCK, SpliceFlags::NONBLOCK);
            match moved.map_err(io::Error::from) {
                Ok(count) => {
                    let block = buffer.room(count);
                    spool.read_exact_at(block, HEAD as u64)?;
                    return Ok(block);
                }
                Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return Err(err);
                }
                // On a full disk go on without the spool; the log counts dropped lines.
                Err(_) => truncate_spool(Some(spool)),
            }
        }
        let block = buffer.room(BLOCK);
        let count = self.fifo.read(block)?;
        Ok(&block[..count])
    }
}

impl AsFd for LogIntake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

/// Moves what a killed supervisor left in the spool to the log.
///
/// # Errors
/// Fails if the spool cannot be read.
pub(crate) fn recover_spool(mut spool: &File, log: &mut LogWriter) -> io::Result<()> {
    let mut bytes = Vec::new();
    spool.read_to_end(&mut bytes)?;
    if let Some((head, bytes)) = bytes.split_at_checked(HEAD) {
        let checkpoint = SpoolCheckpoint::decode(head);
        log.resume(bytes, checkpoint.as_ref(), &mut |next| write_checkpoint(Some(spool), next));
    }
    spool.set_len(0)
}

fn write_checkpoint(spool: Option<&File>, checkpoint: &SpoolCheckpoint) {
    if let Some(spool) = spool {
        // A failure matters only if this process is killed before the write ends.
        let _ = spool.write_all_at(&checkpoint.encode(), 0);
    }
}

fn truncate_spool(spool: Option<&File>) {
    if let Some(spool) = spool {
        // Shortening a file needs no disk space.
        let _ = spool.set_len(0);
    }
}

#[cfg(test)]
mod tests;
