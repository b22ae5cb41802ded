//! Buffers an instance's output in memory before it is written (`logs: {flush: 30s}` in `host.yaml`): an SD
//! card that is written every half minute lives longer than one that is written with each line.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Size at which the buffer must be written.
const MAX_BYTES: usize = 64 * 1024;

/// Output that is not in the log yet, each piece with the time at which it arrived.
#[derive(Debug)]
pub(super) struct LineBuffer {
    delay: Duration,
    pieces: Vec<(Timestamp, Vec<u8>)>,
    bytes: usize,
    /// Arrival of the first piece.
    since: Option<Instant>,
}

impl LineBuffer {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, pieces: Vec::new(), bytes: 0, since: None }
    }

    /// Adds a piece; returns true if the buffer must be written now.
    pub(super) fn push(&mut self, bytes: &[u8], now: Timestamp) -> bool {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += bytes.len();
        match self.pieces.last_mut() {
            // Lines show milliseconds, so pieces of the same millisecond are joined.
            Some((time, piece)) if time.as_millisecond() == now.as_millisecond() => {
                piece.extend_from_slice(bytes);
            }
            _ => self.pieces.push((now, bytes.to_vec())),
        }
        self.bytes >= MAX_BYTES
    }

    /// Returns the time at which the buffer must be written; `None` while it is empty.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.delay)
    }

    /// Empties the buffer and returns its pieces.
    pub(super) fn drain(&mut self) -> Vec<(Timestamp, Vec<u8>)> {
        self.since = None;
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{LogWriter, RotationLimits};
    use std::fs;

    #[test]
    fn lines_are_buffered_until_due_or_too_many_and_keep_their_times() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.1.log");
        let text = || fs::read_to_string(&path).unwrap();
        let mut log = LogWriter::open(path.clone(), RotationLimits::default()).unwrap();
        log.enable_buffer(Duration::from_secs(30));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(log.flush_due(), None);
        log.append_output(b"one\ntw", at("2026-11-22T10:00:00Z"), &mut |_| {});
        log.append_output(b"o\n", at("2026-11-22T10:00:01Z"), &mut |_| {});
        assert_eq!(text(), "");
        assert!(log.flush_due().is_some_and(|due| due > Instant::now()));
        log.flush();
        let lines = "2026-11-22T10:00:00.000Z web.1: one\n2026-11-22T10:00:00.000Z web.1: two\n";
        assert_eq!((text().as_str(), log.flush_due()), (lines, None));

        // A remark comes after the buffered output.
        log.append_output(b"three\n", at("2026-11-22T10:00:02Z"), &mut |_| {});
        log.write_remark("a remark", at("2026-11-22T10:00:03Z"));
        assert!(text().ends_with("web.1: three\n2026-11-22T10:00:03.000Z web.1 piku: a remark\n"));
        assert_eq!(log.last_lines(2), ["two", "three"]);

        // A full buffer is written at once.
        log.append_output(&b"x\n".repeat(MAX_BYTES / 2), at("2026-11-22T10:00:04Z"), &mut |_| {});
        assert_eq!(log.flush_due(), None);
        assert!(text().len() > MAX_BYTES);

        // Dropping the writer writes the buffer.
        log.append_output(b"last\n", at("2026-11-22T10:00:05Z"), &mut |_| {});
        drop(log);
        assert!(text().ends_with("2026-11-22T10:00:05.000Z web.1: last\n"));
    }
}
