//! The audit log, `audit.log`: one line for each request.
//!
//! `TIME KEY VERB APP OUTCOME…`, separated by blanks, with `-` for no app. Arguments are not logged: they
//! may be secrets.

#![expect(clippy::disallowed_methods, reason = "the audit log, which only piku writes")]

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;
use piku_report::progress;

use crate::now;

/// An executed or refused request.
#[derive(Debug)]
pub(crate) struct AuditedAction<'a> {
    pub(crate) key: &'a str,
    pub(crate) verb: &'a str,
    pub(crate) app: Option<&'a str>,
    pub(crate) outcome: &'a str,
}

/// Appends a line. An error is printed and does not stop the request: destroying an app frees a full disk.
pub(crate) fn append_action(log: &Path, action: &AuditedAction<'_>) {
    let line = format_line(now(), action);
    if let Err(err) = append_line(log, line.as_bytes()) {
        progress::error(&format!("cannot write '{}': {err}", log.display()));
    }
}

fn append_line(log: &Path, line: &[u8]) -> io::Result<()> {
    if let Some(root) = log.parent() {
        // The root is missing before the first push.
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    }
    let mut log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
    // One write keeps the lines of two processes apart; the sync keeps the line after a power cut.
    log.write_all(line)?;
    log.sync_data()
}

fn format_line(at: Timestamp, action: &AuditedAction<'_>) -> String {
    let app = action.app.unwrap_or("-");
    format!(
        "{at} {} {} {app} {}\n",
        to_column(action.key),
        to_column(action.verb),
        escape_controls(action.outcome)
    )
}

/// Returns the text as a column: not empty, without blanks, at most 64 characters.
fn to_column(text: &str) -> String {
    let text: String =
        escape_controls(text).chars().take(64).map(|c| if c == ' ' { '_' } else { c }).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Escapes control characters, backslashes and all white space except blanks.
fn escape_controls(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escape = c.is_control() || c == '\\' || (c.is_whitespace() && c != ' ');
            let plain = (!escape).then_some(c);
            plain.into_iter().chain(escape.then(|| c.escape_default()).into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line() {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let action =
            AuditedAction { key: "alice", verb: "push", app: Some("blog"), outcome: "deployed release 3" };
        assert_eq!(format_line(at, &action), "2026-01-02T03:04:05Z alice push blog deployed release 3\n");
        let verb = "sh\n2026 root push\u{2028}\x1b[2J";
        let action = AuditedAction { key: "alice", verb, app: None, outcome: "refused: a\r\nb" };
        assert_eq!(
            format_line(at, &action),
            "2026-01-02T03:04:05Z alice sh\\n2026_root_push\\u{2028}\\u{1b}[2J - refused: a\\r\\nb\n"
        );
    }
}
