//! The mark at a spool's begin: what is about to be written, where, and with which time.

use jiff::Timestamp;

use super::render::LogEnd;

/// Where in the spool the worker's bytes begin.
pub(super) const HEAD: usize = 64;

/// A piece of the spool that is about to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpoolCheckpoint {
    /// The log's inode, and its length before.
    pub(super) file: u64,
    pub(super) end: u64,
    /// How many bytes of the writer's own come before the piece.
    pub(super) lead: u64,
    /// Where in a line the log ended.
    pub(super) at: LogEnd,
    /// Which of the spool's bytes the piece is.
    pub(super) from: usize,
    pub(super) to: usize,
    /// The time that its lines get.
    pub(super) now: Timestamp,
}

impl SpoolCheckpoint {
    /// Never all zeros: that is a spool without a mark.
    pub(super) fn bytes(&self) -> [u8; HEAD] {
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

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
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
