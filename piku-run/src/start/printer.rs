//! Output of the foreman: each line with its time and the name of its process, in colour on a terminal.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use piku_report::terminal::{NAME_COLOURS, is_colour_refused};

/// Name for the foreman's own lines.
const OWN: &str = "system";

/// Prints prefixed lines on stdout.
#[derive(Debug)]
pub(super) struct LinePrinter {
    width: usize,
    colours: Option<BTreeMap<String, u8>>,
}

impl LinePrinter {
    /// `width` is the length of the longest name.
    pub(super) fn new(width: usize) -> Self {
        let colours = (!is_colour_refused() && io::stdout().is_terminal()).then(BTreeMap::new);
        Self { width: width.max(OWN.len()), colours }
    }

    /// Prints a line of a process, its bytes unchanged.
    pub(super) fn print_line(&mut self, who: &str, text: &[u8]) {
        let mut out = self.format_prefix(who).into_bytes();
        out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        out.push(b'\n');
        let mut stdout = io::stdout().lock();
        // Stdout is gone; the processes keep running.
        let _ = stdout.write_all(&out).and_then(|()| stdout.flush());
    }

    /// Prints a line of the foreman itself.
    pub(super) fn print_remark(&mut self, text: &str) {
        self.print_line(OWN, text.as_bytes());
    }

    fn format_prefix(&mut self, who: &str) -> String {
        let text = format!("{} {who:<width$} | ", format_time(), width = self.width);
        let Some(colours) = &mut self.colours else { return text };
        let next = NAME_COLOURS[colours.len() % NAME_COLOURS.len()];
        let colour = if who == OWN { 1 } else { *colours.entry(who.to_owned()).or_insert(next) };
        format!("\u{1b}[{colour}m{text}\u{1b}[0m")
    }
}

/// Returns the time of day in UTC; no time zone database is linked in.
fn format_time() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}
