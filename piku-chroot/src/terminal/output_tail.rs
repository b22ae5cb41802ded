//! The last output of a command on its terminal, for the report: its caller cannot read it otherwise.

use std::collections::VecDeque;

use piku_report::terminal::plain_text;

/// Bytes that are kept.
const BYTES: usize = 8 << 10;
/// Largest number of lines in the report.
const LINES: usize = 40;
/// Longest line in the report, in characters.
const LINE_CHARS: usize = 1000;

/// The last bytes of output.
#[derive(Debug, Default)]
pub(crate) struct OutputTail(VecDeque<u8>);

impl OutputTail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(&bytes[bytes.len().saturating_sub(BYTES)..]);
        self.0.drain(..self.0.len().saturating_sub(BYTES));
    }

    /// Returns the last lines as plain text.
    pub(crate) fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        if bytes.is_empty() {
            return Vec::new();
        }
        let lines: Vec<&[u8]> =
            bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|byte| *byte == b'\n').collect();
        let shown = |line: &&[u8]| plain_text(line).chars().take(LINE_CHARS).collect();
        lines[lines.len().saturating_sub(LINES)..].iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_stay() {
        let mut tail = OutputTail::default();
        for number in 0..10_000 {
            tail.push(format!("\u{1b}[1m{number}\r\n").as_bytes());
        }
        tail.push(&[b'x'; 2 * BYTES]);
        assert_eq!(tail.0.len(), BYTES);
        tail.push(b"\r\nlast");
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[1].as_str()), (2, "last"));
        assert_eq!(lines[0].len(), LINE_CHARS);
        assert_eq!(OutputTail::default().lines(), [""; 0]);
        let mut tail = OutputTail::default();
        tail.push(b"\x1b[1mred\x1b[0m\r\n\x1b]0;title\x07next\r\n");
        assert_eq!(tail.lines(), ["red", "next"]);
    }
}
