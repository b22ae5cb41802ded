//! A line of a log with its time and its host, and the order of lines of several hosts.

use piku_report::terminal::coloured_text;

/// Length of the time at the start of a line of piku's logs.
const TIME: usize = "2026-11-22T10:00:00.123Z".len();

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostLine {
    /// Time of the line, or of the one before if it has none. It sorts as text.
    pub(super) time: String,
    /// Place of the host in the list.
    pub(super) host: usize,
    has_time: bool,
    bytes: Vec<u8>,
}

impl HostLine {
    /// Parses a line of a host. `before` is the time of its line before.
    pub(super) fn parse(host: usize, line: &[u8], before: &str) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let time = parse_time(line);
        let bytes = if time.is_some() { &line[TIME + 1..] } else { line };
        Self {
            time: time.unwrap_or(before).to_owned(),
            host,
            has_time: time.is_some(),
            bytes: bytes.to_owned(),
        }
    }

    /// Returns the line with the name of its host after the time.
    pub(super) fn render(&self, name: &str, is_raw: bool) -> Vec<u8> {
        let time = if self.has_time { format!("{} ", self.time) } else { String::new() };
        let text = if is_raw { self.bytes.clone() } else { coloured_text(&self.bytes).into_bytes() };
        [time.as_bytes(), name.as_bytes(), b" ", &text, b"\n"].concat()
    }

    pub(super) fn size(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }
}

/// Returns the time of a line; `None` for one without it.
fn parse_time(line: &[u8]) -> Option<&str> {
    let (time, rest) = line.split_at_checked(TIME)?;
    let form = b"0000-00-00T00:00:00.000Z";
    let is_like = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    (time.iter().zip(form).all(is_like) && rest.starts_with(b" ")).then(|| std::str::from_utf8(time).ok())?
}

/// Sorts lines by time. Lines of one host keep their order.
pub(super) fn sort_lines(lines: &mut [HostLine]) {
    lines.sort_by(|one, other| one.time.cmp(&other.time));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_hosts_are_in_the_order_of_their_times() {
        let mut before = [String::new(), String::new()];
        let mut lines = Vec::new();
        for (host, text) in [
            (0, "2026-11-22T10:00:01.000Z web.1: b\n"),
            (0, "no time, like the end of a long line"),
            (0, "2026-11-22T10:00:03.000Z web.1: d\x1b[2J"),
            (1, "2026-11-22T10:00:00.000Z web.1: a"),
            (1, "2026-11-22T10:00:02.000Z web.1: c"),
        ] {
            let line = HostLine::parse(host, text.as_bytes(), &before[host]);
            before[host].clone_from(&line.time);
            lines.push(line);
        }
        sort_lines(&mut lines);
        let text: Vec<u8> =
            lines.iter().flat_map(|line| line.render(["pi-1", "pi-2"][line.host], false)).collect();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "2026-11-22T10:00:00.000Z pi-2 web.1: a\n\
             2026-11-22T10:00:01.000Z pi-1 web.1: b\n\
             pi-1 no time, like the end of a long line\n\
             2026-11-22T10:00:02.000Z pi-2 web.1: c\n\
             2026-11-22T10:00:03.000Z pi-1 web.1: d\n"
        );
    }

    #[test]
    fn what_is_no_time_is_text() {
        for text in
            ["", "2026-11-22T10:00:00.000Z", "2026-11-22T10:00:00.00xZ web.1: a", "é".repeat(30).as_str()]
        {
            let line = HostLine::parse(0, text.as_bytes(), "then");
            assert_eq!(line.time, "then", "{text}");
            assert_eq!(line.render("pi", true), format!("pi {text}\n").into_bytes());
        }
    }
}
