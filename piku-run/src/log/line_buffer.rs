//! What a worker says, gathered for a while before it goes to the log (`logs: {flush: 30s}` of `host.yaml`): a card that is written
//! to every half minute lives longer than one that is written to with each line.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The most that is kept in memory.
const MOST_BYTES: usize = 64 * 1024;

/// Bytes of a worker that are not in its log yet, each piece with the time at which it came.
#[derive(Debug)]
pub(super) struct LineBuffer {
    pause: Duration,
    pieces: Vec<(Timestamp, Vec<u8>)>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

impl LineBuffer {
    /// Gathers for this long.
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, pieces: Vec::new(), bytes: 0, since: None }
    }

    /// Adds what has come; returns whether it is enough to be written.
    pub(super) fn add(&mut self, bytes: &[u8], now: Timestamp) -> bool {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += bytes.len();
        match self.pieces.last_mut() {
            // A line shows no more of its time than that.
            Some((time, piece)) if time.as_millisecond() == now.as_millisecond() => {
                piece.extend_from_slice(bytes);
            }
            _ => self.pieces.push((now, bytes.to_vec())),
        }
        self.bytes >= MOST_BYTES
    }

    /// When it is to be written; `None` while there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.pause)
    }

    /// Gives all of it away.
    pub(super) fn take(&mut self) -> Vec<(Timestamp, Vec<u8>)> {
        self.since = None;
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogWriter;
    use std::fs;

    #[test]
    fn lines_wait_until_they_are_due_or_too_many_and_keep_their_times() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.1.log");
        let text = || fs::read_to_string(&path).unwrap();
        let mut log = LogWriter::open(path.clone()).unwrap();
        log.gather(Duration::from_secs(30));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(log.due(), None);
        log.take_in(b"one\ntw", at("2026-11-22T10:00:00Z"), &mut |_| {});
        log.take_in(b"o\n", at("2026-11-22T10:00:01Z"), &mut |_| {});
        assert_eq!(text(), "");
        assert!(log.due().is_some_and(|due| due > Instant::now()));
        log.flush();
        let lines = "2026-11-22T10:00:00.000Z web.1: one\n2026-11-22T10:00:00.000Z web.1: two\n";
        assert_eq!((text().as_str(), log.due()), (lines, None));

        // What piku says itself stands behind what was said before.
        log.take_in(b"three\n", at("2026-11-22T10:00:02Z"), &mut |_| {});
        log.line("a remark", at("2026-11-22T10:00:03Z"));
        assert!(text().ends_with("web.1: three\n2026-11-22T10:00:03.000Z web.1 piku: a remark\n"));
        assert_eq!(log.tail(2), ["two", "three"]);

        // So much is not kept in memory.
        log.take_in(&b"x\n".repeat(MOST_BYTES / 2), at("2026-11-22T10:00:04Z"), &mut |_| {});
        assert_eq!(log.due(), None);
        assert!(text().len() > MOST_BYTES);

        // Whoever lets go of the log has it written.
        log.take_in(b"last\n", at("2026-11-22T10:00:05Z"), &mut |_| {});
        drop(log);
        assert!(text().ends_with("2026-11-22T10:00:05.000Z web.1: last\n"));
    }
}
