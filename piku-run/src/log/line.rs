//! The format of a log line: formatting and parsing.

use jiff::Timestamp;

/// Marks a remark of the supervisor, between the instance's name and the colon.
const REMARK: &str = " piku";

/// Longest text of one line in bytes. A longer one is split, so that readers need not hold an endless line in
/// memory.
pub(super) const MAX_TEXT: usize = 64 * 1024;

/// Formats a line's time with a fixed width, so that it sorts as text.
pub(super) fn format_time(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Formats the part of a line before the instance's text.
pub(super) fn format_prefix(now: Timestamp, instance: &str) -> String {
    format!("{} {instance}: ", format_time(now))
}

/// Formats a remark of the supervisor as a whole line. Line ends inside the text become blanks.
pub(super) fn format_remark(now: Timestamp, instance: &str, text: &str) -> String {
    format!("{} {instance}{REMARK}: {}\n", format_time(now), text.replace(['\n', '\r'], " "))
}

/// Returns the instance's text in a line of its log; `None` for a remark of the supervisor. A line in any
/// other form counts as text.
pub(super) fn instance_text<'a>(line: &'a [u8], instance: &str) -> Option<&'a [u8]> {
    let after_time = line.iter().position(|b| *b == b' ').map_or(line, |at| &line[at + 1..]);
    let Some(rest) = after_time.strip_prefix(instance.as_bytes()) else { return Some(line) };
    if rest.starts_with(REMARK.as_bytes()) {
        return None;
    }
    Some(rest.strip_prefix(b": ").unwrap_or(line))
}

/// Splits a line of `instance`'s log: returns true for a remark of the supervisor, and the text.
pub(super) fn split_line<'a>(line: &'a [u8], instance: &str) -> (bool, &'a [u8]) {
    let text = instance_text(line, instance);
    let remark = || {
        let begin = line.windows(2).position(|window| window == b": ");
        begin.map_or(line, |at| &line[at + 2..])
    };
    (text.is_none(), text.unwrap_or_else(remark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatted_lines_are_parsed() {
        let now: Timestamp = "2026-11-22T10:00:00.123456Z".parse().unwrap();
        let line = format_prefix(now, "web.1") + "web.1: hi";
        assert_eq!(line, "2026-11-22T10:00:00.123Z web.1: web.1: hi");
        assert_eq!(instance_text(line.as_bytes(), "web.1"), Some(&b"web.1: hi"[..]));
        assert_eq!(instance_text(b"no form", "web.1"), Some(&b"no form"[..]));
        assert_eq!(instance_text(b"", "web.1"), Some(&b""[..]));
        let remark = format_remark(now, "web.1", "ended\nwith 1");
        assert_eq!(remark, "2026-11-22T10:00:00.123Z web.1 piku: ended with 1\n");
        assert_eq!(instance_text(remark.as_bytes(), "web.1"), None);
        assert_eq!(split_line(line.as_bytes(), "web.1"), (false, &b"web.1: hi"[..]));
        assert_eq!(split_line(remark.as_bytes(), "web.1"), (true, &b"ended with 1\n"[..]));
    }
}
