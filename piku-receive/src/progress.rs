//! What the pusher reads while things go on, in the form that Heroku made known. A laptop that has gone away is no reason
//! to stop, so nothing here can fail.

use std::env;
use std::io::Write;

use piku_report::diagnostic::readable;

/// `-----> TEXT`: something begins, or has been decided.
pub(crate) fn step(text: &str) {
    line("-----> ", text);
}

/// A detail of the step before.
pub(crate) fn detail(text: &str) {
    line("       ", text);
}

/// ` !     TEXT`: what went wrong.
pub(crate) fn bad(text: &str) {
    line(" !     ", text);
}

/// `NAME | TEXT`: what another machine says, its own marks in it.
pub(crate) fn of_machine(name: &str, text: &str) {
    line(&format!("{name} | "), text);
}

fn line(mark: &str, text: &str) {
    // The name of a branch may hold U+009B, which a terminal obeys. One write a line, so that lines of two processes are not mixed.
    let _ = std::io::stderr().lock().write_all(format!("{mark}{}\n", readable(text)).as_bytes());
}

/// Text from a stranger, in single quotes, control characters escaped, no longer than a line should be.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    // escape_debug escapes both quotes; within single quotes a double one needs none.
    shown = shown.replace("\\\"", "\"");
    if text.chars().count() > LONGEST {
        shown.push('…');
    }
    format!("'{shown}'")
}

/// One word of a command that people copy into their shell, in quotes where any shell might see more in it.
pub(crate) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,-".contains(c);
    if text.chars().all(plain) && !text.is_empty() {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the command with which the pusher reaches this machine, as the connection itself tells it; `piku` if it does not.
pub(crate) fn door() -> String {
    let connection = env::var("SSH_CONNECTION").unwrap_or_default();
    let mut words = connection.split(' ').skip(2);
    let user = env::var("USER").unwrap_or_default();
    match (words.next(), words.next()) {
        (Some(host), Some(port)) if !user.is_empty() => {
            let port = if port == "22" { String::new() } else { format!("-p {port} ") };
            format!("ssh {port}{user}@{host}")
        }
        _ => "piku".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_is_one_short_line() {
        assert_eq!(quoted("sh"), "'sh'");
        assert_eq!(quoted("a\nb\x1b[2J\"'"), r#"'a\nb\u{1b}[2J"\''"#);
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), 103);
    }

    #[test]
    fn a_word_to_be_copied_is_one_word_to_a_shell() {
        for (text, shown) in [
            ("a/b-1", "a/b-1"),
            ("v1^{}:main", "'v1^{}:main'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(word(text), shown);
        }
    }
}
