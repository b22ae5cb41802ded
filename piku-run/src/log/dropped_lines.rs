//! What of a log could not be written: counted, and its end kept for who asks for the last lines.

use std::fmt;
use std::io;

use jiff::Timestamp;

/// How much of it is kept, in bytes.
const KEPT: usize = 4096;

/// All since the last thing that could be written.
#[derive(Debug)]
pub(super) struct DroppedLines {
    since: Timestamp,
    reason: String,
    lines: u64,
    bytes: u64,
    /// The end of it.
    last: Vec<u8>,
}

impl DroppedLines {
    /// Counts what was not written, for this reason, at this time.
    pub(super) fn add(lost: &mut Option<Self>, bytes: &[u8], err: &io::Error, now: Timestamp) {
        let lost = lost.get_or_insert_with(|| Self {
            since: now,
            reason: err.to_string(),
            lines: 0,
            bytes: 0,
            last: Vec::new(),
        });
        lost.lines += bytes.split(|b| *b == b'\n').count() as u64 - 1;
        lost.bytes += bytes.len() as u64;
        lost.last.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
        lost.last.drain(..lost.last.len().saturating_sub(KEPT));
    }

    /// The last lines of it that say anything; the first may be cut.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.last.split(|b| *b == b'\n').filter(|text| !text.is_empty())
    }
}

impl fmt::Display for DroppedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, reason, lines, bytes, .. } = self;
        write!(f, "{lines} lines ({bytes} bytes) lost since {since:.3}: {reason}")
    }
}
