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

/// The text without what would move a terminal's cursor, change its title or its colours: bytes that are no UTF-8 become
/// the replacement character, escape sequences and control characters but the tab go.
pub(super) fn plain(text: &[u8]) -> String {
    clean(text, false)
}

/// The same with its colours, which end with it.
pub(super) fn coloured(text: &[u8]) -> String {
    clean(text, true)
}

fn clean(text: &[u8], colours: bool) -> String {
    let text = String::from_utf8_lossy(text);
    let mut clean = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => match rest.next() {
                Some('[') => {
                    let mut sequence = String::from("\x1b[");
                    for c in rest.by_ref() {
                        sequence.push(c);
                        // What ends a control sequence.
                        if ('@'..='~').contains(&c) {
                            break;
                        }
                    }
                    let number = |c: char| c.is_ascii_digit() || matches!(c, ';' | ':');
                    if colours
                        && sequence.ends_with('m')
                        && sequence[2..sequence.len() - 1].chars().all(number)
                    {
                        clean.push_str(&sequence);
                        coloured = true;
                    }
                }
                // A string for the terminal ends with BEL or ESC \.
                Some(']' | 'P' | '^' | '_' | 'X') => {
                    while let Some(c) = rest.next() {
                        if c == '\x07' || c == '\x1b' && rest.next_if_eq(&'\\').is_some() {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\t' => clean.push(c),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    if coloured {
        clean.push_str("\x1b[0m");
    }
    clean
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

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(plain(b"a\x1b[31;1mred\x1b[0m\tb\r"), "ared\tb");
        assert_eq!(plain(b"\x1b]0;title\x07x\x1b]8;;u\x1b\\y\x1bcz"), "xyz");
        assert_eq!(plain(b"\xff\x00 \xc2\x9b1mq"), "\u{fffd} 1mq");
        assert_eq!(plain(b"\x1b["), "");
        assert_eq!(coloured(b"a\x1b[31;1mred\x1b[2J\x1b[?1m"), "a\x1b[31;1mred\x1b[0m");
        assert_eq!(coloured(b"no colour"), "no colour");
    }
}
