//! Reads back the last lines of an instance, for the message that explains its end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use piku_report::terminal::plain_text;

use super::LogWriter;
use crate::log::line;
use crate::log::rotate::numbered;

/// Number of bytes at the end of a log that are searched for the last lines.
const SEARCHED_BYTES: u64 = 256 * 1024;
/// Longest returned line, in characters.
const MAX_LINE: usize = 1000;

impl LogWriter {
    /// Returns the instance's last `count` lines since this writer was opened, oldest first: plain text
    /// without time and name, including dropped lines. Empty lines are left out, long ones are cut.
    #[must_use]
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if self.rotated {
            lines.extend(self.read_lines(&numbered(&self.path, 1), self.begin));
            lines.extend(self.read_lines(&self.path, 0));
        } else {
            lines.extend(self.read_lines(&self.path, self.begin));
        }
        if let Some(dropped) = &self.dropped {
            lines.extend(dropped.last_lines().map(shorten_line));
        }
        lines.split_off(lines.len().saturating_sub(count))
    }

    /// Returns the instance's lines at the end of a file, after the offset `begin`.
    fn read_lines(&self, path: &Path, begin: u64) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(path)?;
            let end = file.metadata()?.len();
            let mut bytes = Vec::new();
            let from = begin.max(end.saturating_sub(SEARCHED_BYTES));
            file.seek(SeekFrom::Start(from))?;
            file.take(SEARCHED_BYTES).read_to_end(&mut bytes)?;
            if from > begin {
                // The first line is incomplete.
                bytes = bytes.splitn(2, |b| *b == b'\n').nth(1).unwrap_or_default().to_vec();
            }
            Ok(bytes)
        };
        let Ok(bytes) = read() else { return Vec::new() };
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let texts = lines.filter_map(|line| line::instance_text(line, &self.instance));
        texts.filter(|text| !text.is_empty()).map(shorten_line).collect()
    }
}

fn shorten_line(text: &[u8]) -> String {
    let text = plain_text(text);
    match text.char_indices().nth(MAX_LINE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
