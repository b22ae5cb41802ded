//! Who did what: one line an action, appended to `audit.log`.
//!
//! `TIME KEY VERB APP OUTCOME…`, blanks between; `-` where there is no app. The arguments of a verb are not written: they
//! may be secrets.

#![expect(clippy::disallowed_methods, reason = "the audit log, which only piku writes")]

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;
use piku_report::progress;

use crate::now;

/// An action that has ended.
#[derive(Debug)]
pub(crate) struct AuditedAction<'a> {
    /// The name of the key that asked for it.
    pub(crate) key: &'a str,
    /// What it asked for.
    pub(crate) verb: &'a str,
    /// For which app.
    pub(crate) app: Option<&'a str>,
    /// How it ended.
    pub(crate) outcome: &'a str,
}

/// Appends the action. A full disk is told of, but stops nobody: destroying an app is what mends it.
pub(crate) fn write(log: &Path, action: &AuditedAction<'_>) {
    let line = line(now(), action);
    if let Err(err) = append(log, line.as_bytes()) {
        progress::error(&format!("cannot write '{}': {err}", log.display()));
    }
}

fn append(log: &Path, line: &[u8]) -> io::Result<()> {
    if let Some(root) = log.parent() {
        // Somebody may knock before anything was ever pushed.
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    }
    let mut log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
    // One write, so that two processes cannot mix their lines; synced, so that a power cut takes none back.
    log.write_all(line)?;
    log.sync_data()
}

fn line(at: Timestamp, action: &AuditedAction<'_>) -> String {
    let app = action.app.unwrap_or("-");
    format!("{at} {} {} {app} {}\n", word(action.key), word(action.verb), escaped(action.outcome))
}

/// One column: no blank, never empty, of bounded length.
fn word(text: &str) -> String {
    let text: String = escaped(text).chars().take(64).map(|c| if c == ' ' { '_' } else { c }).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// No newline, and nothing that a terminal would obey.
fn escaped(text: &str) -> String {
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
    fn whatever_was_asked_for_is_one_line() {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let action =
            AuditedAction { key: "alice", verb: "push", app: Some("blog"), outcome: "deployed release 3" };
        assert_eq!(line(at, &action), "2026-01-02T03:04:05Z alice push blog deployed release 3\n");
        let verb = "sh\n2026 root push\u{2028}\x1b[2J";
        let action = AuditedAction { key: "alice", verb, app: None, outcome: "refused: a\r\nb" };
        assert_eq!(
            line(at, &action),
            "2026-01-02T03:04:05Z alice sh\\n2026_root_push\\u{2028}\\u{1b}[2J - refused: a\\r\\nb\n"
        );
    }
}
