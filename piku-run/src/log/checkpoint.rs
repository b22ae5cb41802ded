//! The checkpoint at the start of a spool: which piece is about to be written to which place of the log.

use jiff::Timestamp;

use super::render::LogEnd;

/// Length of the encoded checkpoint; the instance's output follows it in the spool.
pub(super) const HEAD: usize = 64;

/// A piece of the spool that is about to be written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpoolCheckpoint {
    /// The log's inode, and its length before the write.
    pub(super) file: u64,
    pub(super) end: u64,
    /// Bytes that the writer adds before the piece: a line end, a remark on dropped lines.
    pub(super) lead: u64,
    /// The log's end before the write.
    pub(super) at: LogEnd,
    /// Range of the piece in the spool's output.
    pub(super) from: usize,
    pub(super) to: usize,
    /// Arrival of the piece, the time of its lines.
    pub(super) now: Timestamp,
}

impl SpoolCheckpoint {
    /// Encodes the checkpoint. The result is never all zeros, which mean a spool without a checkpoint.
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let at = match self.at {
            LogEnd::Start => u64::MAX,
            LogEnd::Foreign => u64::MAX - 1,
            LogEnd::Text(length) => length as u64,
        };
        let words = [
            1,
            self.file,
            self.end,
            self.lead,
            at,
            self.from as u64,
            self.to as u64,
            u64::from_ne_bytes(self.now.as_millisecond().to_ne_bytes()),
        ];
        let mut bytes = [0; HEAD];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.chunks_exact(8).map(|word| word.try_into().map(u64::from_ne_bytes));
        let mut next = || words.next()?.ok();
        if next()? != 1 {
            return None;
        }
        Some(Self {
            file: next()?,
            end: next()?,
            lead: next()?,
            at: match next()? {
                u64::MAX => LogEnd::Start,
                length if length == u64::MAX - 1 => LogEnd::Foreign,
                length => LogEnd::Text(usize::try_from(length).ok()?),
            },
            from: usize::try_from(next()?).ok()?,
            to: usize::try_from(next()?).ok()?,
            now: Timestamp::from_millisecond(i64::from_ne_bytes(next()?.to_ne_bytes())).ok()?,
        })
    }
}
