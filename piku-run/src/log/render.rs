//! How a worker's bytes become lines of a log: where a prefix goes, and where a line that is too long is cut.

use super::line;

/// Where in a line the file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogEnd {
    /// At a line's start.
    Start,
    /// Inside a line of the worker, after this many bytes of its text.
    Text(usize),
    /// Inside a line of somebody else, to be ended before anything else is said.
    Foreign,
}

/// Adds the text to `out`, `prefix` before each line's first byte; returns where in a line it ends.
pub(super) fn render(bytes: &[u8], mut at: LogEnd, prefix: &str, out: &mut Vec<u8>) -> LogEnd {
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
            let (fits, over) = text.split_at(fitting(text, length));
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

/// How many bytes of `text` a line of `length` bytes still takes. A character is not cut in two: up to three bytes that
/// continue one are taken beyond the limit.
pub(super) fn fitting(text: &[u8], length: usize) -> usize {
    let continues = |b: &u8| (0x80..0xc0).contains(b);
    let limit = line::MAX_TEXT.saturating_sub(length);
    let Some(over) = text.get(limit..) else { return text.len() };
    let allowed = (line::MAX_TEXT + 3).saturating_sub(length.max(line::MAX_TEXT));
    limit + over.iter().take(allowed).take_while(|b| continues(b)).count()
}
