//! Turns an instance's output into log lines: adds prefixes and splits lines that are too long.

use super::line;

/// The position in a line at which a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogEnd {
    /// At the start of a line.
    Start,
    /// Inside a line of this instance, after this many bytes of text.
    Text(usize),
    /// Inside a line of another writer, which must be ended first.
    Foreign,
}

/// Appends the text to `out` with `prefix` at the start of each line; returns the new end.
pub(super) fn render_lines(bytes: &[u8], mut at: LogEnd, prefix: &str, out: &mut Vec<u8>) -> LogEnd {
    for piece in bytes.split_inclusive(|b| *b == b'\n') {
        let (mut text, ended) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        loop {
            let length = match at {
                LogEnd::Text(length) => length,
                LogEnd::Start | LogEnd::Foreign => {
                    out.extend_from_slice(prefix.as_bytes());
                    0
                }
            };
            let (fits, over) = text.split_at(split_index(text, length));
            out.extend_from_slice(fits);
            at = LogEnd::Text(length + fits.len());
            if over.is_empty() {
                break;
            }
            out.push(b'\n');
            at = LogEnd::Start;
            text = over;
        }
        if ended {
            out.push(b'\n');
            at = LogEnd::Start;
        }
    }
    at
}

/// Returns how many bytes of `text` still fit into a line of `length` bytes. Up to three bytes beyond the
/// limit are included to keep a UTF-8 character whole.
pub(super) fn split_index(text: &[u8], length: usize) -> usize {
    let continues = |b: &u8| (0x80..0xc0).contains(b);
    let limit = line::MAX_TEXT.saturating_sub(length);
    let Some(over) = text.get(limit..) else { return text.len() };
    let allowed = (line::MAX_TEXT + 3).saturating_sub(length.max(line::MAX_TEXT));
    limit + over.iter().take(allowed).take_while(|b| continues(b)).count()
}
