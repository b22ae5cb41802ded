//! `record`: copies the output of a deploy to the push and to its log, up to a limit, so that endless output
//! fills no disk.
//!
//! The log keeps the bytes as they are. The push gets text and colours only: it is read on a terminal.

#![expect(clippy::disallowed_methods, reason = "the log of a deploy, which only piku writes")]

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use anyhow::Context;
use piku_files::free_space::size;
use piku_report::terminal::coloured_text;

/// Bytes that are kept from the end of the output beyond the limit, where the cause of a failure is.
const TAIL: usize = 64 * 1024;
/// Longest line that is held back; a longer one is passed on in pieces.
const LONGEST_LINE: usize = 8 * 1024;
/// Largest number of bytes in one read.
const BLOCK: usize = 64 * 1024;

/// Copies stdin to the log and to stdout.
///
/// # Errors
/// Fails if stdin cannot be read. A failed log or a closed push does not stop it.
pub(crate) fn record_output(log: &Path, limit: u64) -> anyhow::Result<()> {
    let mut recorder = OutputRecorder::new(io::stdout(), limit);
    match File::create(log) {
        Ok(file) => recorder.log = Some(file),
        Err(err) => recorder.write_notice(&format!("cannot write '{}': {err}", log.display())),
    }
    let mut block = vec![0; BLOCK];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut block) {
            Ok(0) => break,
            Ok(count) => recorder.push_bytes(&block[..count]),
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err).context("cannot read the output of the deploy"),
        }
    }
    recorder.finish();
    Ok(())
}

/// Passes output on up to the limit and keeps the end of the rest.
#[derive(Debug)]
struct OutputRecorder<W, L> {
    /// `None` after a failed write.
    push: Option<W>,
    /// `None` after a failed write.
    log: Option<L>,
    /// Bytes that may still be passed on.
    left: u64,
    limit: u64,
    /// Line that is not complete yet.
    partial: Vec<u8>,
    /// End of the output beyond the limit.
    tail: Vec<u8>,
    dropped: u64,
}

impl<W: Write, L: Write> OutputRecorder<W, L> {
    fn new(push: W, limit: u64) -> Self {
        Self {
            push: Some(push),
            log: None,
            left: limit,
            limit,
            partial: Vec::new(),
            tail: Vec::new(),
            dropped: 0,
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let (passed, kept) = bytes.split_at(fits);
        self.left -= fits as u64;
        self.write_through(passed);
        if kept.is_empty() {
            return;
        }
        if self.dropped == 0 {
            self.write_notice(&format!(
                "this deploy has printed more than {}: of the rest only the end is kept",
                size(self.limit)
            ));
        }
        self.dropped += kept.len() as u64;
        self.tail.extend_from_slice(kept);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }

    /// Writes the kept end and completes the last line.
    fn finish(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            let mut begin = tail.len().saturating_sub(TAIL);
            let is_cut = begin > 0 || self.dropped > tail.len() as u64;
            // The first line may be incomplete.
            if let Some(end) = tail[begin..].iter().position(|byte| *byte == b'\n').filter(|_| is_cut) {
                begin += end + 1;
            }
            let missing = self.dropped - (tail.len() - begin) as u64;
            if missing > 0 {
                self.write_notice(&format!("{} are omitted here", size(missing)));
            }
            self.write_through(&tail[begin..]);
        }
        self.end_line();
        self.write_through(b"");
    }

    /// Writes an error line to both.
    fn write_notice(&mut self, text: &str) {
        self.end_line();
        self.write_through(format!(" !     {text}\n").as_bytes());
    }

    fn end_line(&mut self) {
        if !self.partial.is_empty() {
            self.write_through(b"\n");
        }
    }

    fn write_through(&mut self, bytes: &[u8]) {
        let written = self.log.as_mut().map_or(Ok(()), |log| log.write_all(bytes).and_then(|()| log.flush()));
        self.partial.extend_from_slice(bytes);
        let mut text = String::new();
        let mut begin = 0;
        while let Some(end) = self.partial[begin..].iter().position(|byte| *byte == b'\n') {
            text.push_str(&coloured_text(&self.partial[begin..begin + end]));
            text.push('\n');
            begin += end + 1;
        }
        self.partial.drain(..begin);
        if self.partial.len() > LONGEST_LINE {
            text.push_str(&coloured_text(&std::mem::take(&mut self.partial)));
        }
        let push = self.push.as_mut();
        if push.is_some_and(|push| push.write_all(text.as_bytes()).and_then(|()| push.flush()).is_err()) {
            self.push = None;
        }
        if let Err(err) = written {
            self.log = None;
            self.write_notice(&format!("the rest of the deploy's log cannot be written: {err}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(limit: u64, parts: &[&[u8]]) -> (String, Vec<u8>) {
        let (mut push, mut log) = (Vec::new(), Vec::new());
        let mut recorder = OutputRecorder::new(&mut push, limit);
        recorder.log = Some(&mut log);
        for part in parts {
            recorder.push_bytes(part);
        }
        recorder.finish();
        (String::from_utf8(push).unwrap(), log)
    }

    #[test]
    fn the_push_has_text_and_the_log_has_all_bytes() {
        let (push, log) = record(1000, &[b"a\x1b[31mred\x1b]52;c;eA==\x07\r\nhal", b"f\nend"]);
        assert_eq!(push, "a\x1b[31mred\x1b[0m\nhalf\nend\n");
        assert_eq!(log, b"a\x1b[31mred\x1b]52;c;eA==\x07\r\nhalf\nend\n");
    }

    #[test]
    fn without_end_the_beginning_and_the_end_stay() {
        let line = b"yes yes yes yes\n".repeat(4096);
        let mut parts = vec![line.as_slice(); 100];
        parts.push(b" !     deploy 3 failed\n");
        let (push, log) = record(1 << 20, &parts);
        assert_eq!(push.as_bytes(), log);
        assert!(push.len() < (1 << 20) + TAIL + 1000, "{}", push.len());
        assert!(push.starts_with("yes yes yes yes\n"));
        assert!(push.ends_with("yes yes yes yes\n !     deploy 3 failed\n"));
        assert!(
            push.contains("\n !     this deploy has printed more than 1.0 MiB: of the rest only the end")
        );
        assert!(push.contains(" are omitted here\n"));
        assert!(push.lines().all(|line| line == "yes yes yes yes" || line.starts_with(" !     ")));
    }

    #[test]
    fn a_little_too_much_loses_nothing() {
        let (push, _) = record(4, &[b"one\ntwo\nthree"]);
        let said = " !     this deploy has printed more than 1 KiB: of the rest only the end is kept\n";
        assert_eq!(push, format!("one\n{said}two\nthree\n"));
    }

    #[test]
    fn a_line_without_end_is_passed_on_and_takes_no_memory() {
        let (push, log) = record(1 << 30, &[&vec![b'x'; 100_000], &[0xff; 10]]);
        assert_eq!(log.len(), 100_011);
        assert!(push.ends_with(
            "x\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\n"
        ));
    }

    #[test]
    fn a_push_that_goes_away_and_a_full_disk_stop_nothing() {
        struct FullLog;
        impl Write for FullLog {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut log = Vec::new();
        let mut recorder = OutputRecorder::new(FullLog, 100);
        recorder.log = Some(&mut log);
        recorder.push_bytes(b"one\n");
        recorder.finish();
        assert_eq!(log, b"one\n");
        let mut push = Vec::new();
        let mut recorder = OutputRecorder::new(&mut push, 100);
        recorder.log = Some(FullLog);
        recorder.push_bytes(b"one\ntwo");
        recorder.finish();
        let push = String::from_utf8(push).unwrap();
        assert!(push.starts_with("one\n") && push.contains("the deploy's log cannot be written"), "{push}");
    }
}
