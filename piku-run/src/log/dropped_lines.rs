//! Log lines that could not be written: they are counted, and the last of them are kept for messages.

use std::fmt;
use std::io;

use jiff::Timestamp;

/// Number of bytes kept from the end of the dropped text.
const KEPT_BYTES: usize = 4096;

/// The lines dropped since the last successful write.
#[derive(Debug)]
pub(super) struct DroppedLines {
    since: Timestamp,
    reason: String,
    lines: u64,
    bytes: u64,
    last: Vec<u8>,
}

impl DroppedLines {
    /// Counts bytes that were not written because of `err`.
    pub(super) fn add(dropped: &mut Option<Self>, bytes: &[u8], err: &io::Error, now: Timestamp) {
        let dropped = dropped.get_or_insert_with(|| Self {
            since: now,
            reason: err.to_string(),
            lines: 0,
            bytes: 0,
            last: Vec::new(),
        });
        dropped.lines += bytes.split(|b| *b == b'\n').count() as u64 - 1;
        dropped.bytes += bytes.len() as u64;
        dropped.last.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT_BYTES)..]);
        dropped.last.drain(..dropped.last.len().saturating_sub(KEPT_BYTES));
    }

    /// Returns the last non-empty lines; the first may be incomplete.
    pub(super) fn last_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.last.split(|b| *b == b'\n').filter(|text| !text.is_empty())
    }
}

impl fmt::Display for DroppedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, reason, lines, bytes, .. } = self;
        write!(f, "{lines} lines ({bytes} bytes) lost since {since:.3}: {reason}")
    }
}
