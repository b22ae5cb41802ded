//! The form of a line in a log, written and taken apart in one place.

use jiff::Timestamp;

/// What stands between an instance's name and the colon where the supervisor speaks, not the worker.
const REMARK: &str = " piku";

/// The longest text of one line; a longer one is split, so that a worker that never ends its line cannot make a reader
/// hold all of it.
pub(super) const MAX_TEXT: usize = 64 * 1024;

/// A time as it stands in front of a line: of fixed width, so that as text it sorts as time does.
pub(super) fn time(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// What stands before the text of a worker's line.
pub(super) fn prefix(now: Timestamp, instance: &str) -> String {
    format!("{} {instance}: ", time(now))
}

/// A whole line that the supervisor says, its end included. Line ends inside the text become blanks.
pub(super) fn remark(now: Timestamp, instance: &str, text: &str) -> String {
    format!("{} {instance}{REMARK}: {}\n", time(now), text.replace(['\n', '\r'], " "))
}

/// The worker's text in a line of `instance`'s log; `None` for a remark of the supervisor. A line of any other form is all
/// text.
pub(super) fn text_of<'a>(line: &'a [u8], instance: &str) -> Option<&'a [u8]> {
    let after_time = line.iter().position(|b| *b == b' ').map_or(line, |at| &line[at + 1..]);
    let Some(rest) = after_time.strip_prefix(instance.as_bytes()) else { return Some(line) };
    if rest.starts_with(REMARK.as_bytes()) {
        return None;
    }
    Some(rest.strip_prefix(b": ").unwrap_or(line))
}

/// A line of `instance`'s log without its time and name: whether the supervisor says it, and what is said.
pub(super) fn parts<'a>(line: &'a [u8], instance: &str) -> (bool, &'a [u8]) {
    let said = text_of(line, instance);
    let own = || {
        let begin = line.windows(2).position(|window| window == b": ");
        begin.map_or(line, |at| &line[at + 2..])
    };
    (said.is_none(), said.unwrap_or_else(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_taken_apart_again() {
        let now: Timestamp = "2026-11-22T10:00:00.123456Z".parse().unwrap();
        let line = prefix(now, "web.1") + "web.1: hi";
        assert_eq!(line, "2026-11-22T10:00:00.123Z web.1: web.1: hi");
        assert_eq!(text_of(line.as_bytes(), "web.1"), Some(&b"web.1: hi"[..]));
        assert_eq!(text_of(b"no form", "web.1"), Some(&b"no form"[..]));
        assert_eq!(text_of(b"", "web.1"), Some(&b""[..]));
        let said = remark(now, "web.1", "ended\nwith 1");
        assert_eq!(said, "2026-11-22T10:00:00.123Z web.1 piku: ended with 1\n");
        assert_eq!(text_of(said.as_bytes(), "web.1"), None);
        assert_eq!(parts(line.as_bytes(), "web.1"), (false, &b"web.1: hi"[..]));
        assert_eq!(parts(said.as_bytes(), "web.1"), (true, &b"ended with 1\n"[..]));
    }
}
