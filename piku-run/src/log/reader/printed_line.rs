//! A log line as it is printed: with the name of its app if there are several, and with colours.

use std::io::{self, Write};

use piku_layout::name::AppName;
use piku_report::terminal::{NAME_COLOURS, coloured_text, plain_text};

use crate::log::line_format::{LineFormat, TIME};

const RESET: &str = "\x1b[0m";

/// Additions to the lines of a log, and the bytes of them that are printed.
#[derive(Debug, Clone)]
pub(super) struct LineLabel {
    /// Name of the app, if the logs of several are printed.
    pub(super) app: Option<AppName>,
    /// Number of the colour of names.
    pub(super) colour: Option<usize>,
    /// The log is nginx's: colours in it come from clients.
    pub(super) is_nginx: bool,
    /// Print all bytes unchanged.
    pub(super) is_raw: bool,
}

/// Prints a line: `TIME APP INSTANCE: TEXT`.
pub(super) fn print_line(line: &[u8], label: &LineLabel, out: &mut dyn Write) -> io::Result<()> {
    if label.app.is_none() && (label.colour.is_none() || label.is_nginx) {
        print_text(line, label, out)?;
        return out.write_all(b"\n");
    }
    let (time, rest) = match LineFormat::Piku.parse_time(line) {
        Some(_) if !label.is_nginx => (&line[..=TIME], &line[TIME + 1..]),
        _ => (&line[..0], line),
    };
    // A line without a time has no name either.
    let name = rest.windows(2).position(|window| window == b": ").filter(|_| !time.is_empty());
    let (name, text) = rest.split_at(name.map_or(0, |end| end + 1));
    out.write_all(time)?;
    if let Some(number) = label.colour {
        write!(out, "\x1b[{}m", NAME_COLOURS[number % NAME_COLOURS.len()])?;
    }
    if let Some(app) = &label.app {
        let space = if name.is_empty() { "" } else { " " };
        write!(out, "{app}{space}")?;
    }
    print_text(name, label, out)?;
    if label.colour.is_some() {
        out.write_all(RESET.as_bytes())?;
    }
    if label.app.is_some() && name.is_empty() {
        out.write_all(b" ")?;
    }
    print_text(text, label, out)?;
    out.write_all(b"\n")
}

fn print_text(text: &[u8], label: &LineLabel, out: &mut dyn Write) -> io::Result<()> {
    match label {
        LineLabel { is_raw: true, .. } => out.write_all(text),
        LineLabel { is_nginx: true, .. } => out.write_all(plain_text(text).as_bytes()),
        _ => out.write_all(coloured_text(text).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(line: &str, label: &LineLabel) -> String {
        let mut out = Vec::new();
        print_line(line.as_bytes(), label, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_added_behind_the_time() {
        let plain = LineLabel { app: None, colour: None, is_nginx: false, is_raw: false };
        let line = "2026-11-22T10:00:00.123Z web.1: see: \x1b[31mred\x1b[0m";
        assert_eq!(printed(line, &plain), format!("{line}\n"));
        let named = LineLabel { app: Some("blog".parse().unwrap()), ..plain.clone() };
        assert_eq!(printed(line, &named), "2026-11-22T10:00:00.123Z blog web.1: see: \x1b[31mred\x1b[0m\n");
        assert_eq!(printed("no time: x", &named), "blog no time: x\n");
        let coloured = LineLabel { colour: Some(10), ..named.clone() };
        assert_eq!(
            printed("2026-11-22T10:00:00.123Z web.1 piku: ended", &coloured),
            "2026-11-22T10:00:00.123Z \x1b[33mblog web.1 piku:\x1b[0m ended\n"
        );
        let own = LineLabel { colour: Some(0), ..plain };
        assert_eq!(
            printed("2026-11-22T10:00:00.123Z web.1: x", &own),
            "2026-11-22T10:00:00.123Z \x1b[36mweb.1:\x1b[0m x\n"
        );
        let nginx = LineLabel { is_nginx: true, ..coloured };
        assert_eq!(printed("::1 - - [x] \x1b[31m", &nginx), "\x1b[33mblog\x1b[0m ::1 - - [x] \n");
    }
}
