//! The audit log, `audit.log`: one line for each request.
//!
//! `TIME KEY VERB APP OUTCOME…`, separated by blanks, with `-` for no app. Arguments are not logged: they
//! may be secrets. A log of 4 MB is renamed to `audit.log.1`, and so on up to 8 old ones.

#![expect(clippy::disallowed_methods, reason = "the audit log, which only piku writes")]

mod query;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::{Timestamp, Unit};
use piku_files::FileLock;
use piku_layout::paths::PikuRoot;
use piku_report::progress;

pub use query::{AuditQuery, AuditRecord};

/// Size at which a log is rotated.
const MAX_BYTES: u64 = 4 << 20;
/// Number of old logs that are kept.
const OLD_LOGS: u32 = 8;

/// An executed or refused request.
#[derive(Debug)]
pub struct AuditedAction<'a> {
    /// Name of the key, or as [`crate::actor::actor_name`].
    pub key: &'a str,
    /// The verb.
    pub verb: &'a str,
    /// The app, if the verb has one.
    pub app: Option<&'a str>,
    /// Result: `exit 0`, `deployed … as release 3`, `refused: …`.
    pub outcome: &'a str,
}

/// Appends a line. An error is printed and does not stop the request: destroying an app frees a full disk.
pub fn append_action(root: &PikuRoot, action: &AuditedAction<'_>) {
    let log = root.audit_log();
    let now = Timestamp::now();
    let line = format_line(now.round(Unit::Second).unwrap_or(now), action);
    if let Err(err) = append_line(&log, line.as_bytes(), MAX_BYTES) {
        progress::error(&format!("cannot write '{}': {err}", log.display()));
    }
}

fn append_line(path: &Path, line: &[u8], most: u64) -> io::Result<()> {
    if let Some(root) = path.parent() {
        // The root is missing before the first push.
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    }
    let mut log = lock_log(path)?;
    if log.metadata()?.len() >= most {
        rotate_logs(path)?;
        log = lock_log(path)?;
    }
    let length = log.metadata()?.len();
    // A power cut may have left a line without its end.
    let mut last = [b'\n'];
    if length > 0 {
        log.read_exact_at(&mut last, length - 1)?;
    }
    let end: &[u8] = if last == [b'\n'] { b"" } else { b"\n" };
    // The sync keeps the line after a power cut.
    let written = log.write_all(&[end, line].concat()).and_then(|()| log.sync_data());
    if written.is_err() {
        // The part that fitted on a full disk would become the beginning of the next line.
        let _ = log.set_len(length);
    }
    written
}

/// Opens the log that has this name, and locks it against others that rotate it.
fn lock_log(path: &Path) -> io::Result<FileLock<File>> {
    loop {
        let log = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let log = FileLock::exclusive(log)?;
        // It may have been renamed before it was locked.
        if is_at(&log, path)? {
            return Ok(log);
        }
    }
}

/// Opens the log and the old ones, newest first, so that a rotation moves none of them to another place in the list.
/// The first is locked against writers, if it is there.
fn open_logs(path: &Path) -> io::Result<(Option<FileLock<File>>, Vec<File>)> {
    let log = loop {
        let Some(log) = open_if_there(path)? else { break None };
        let log = FileLock::shared(log)?;
        if is_at(&log, path)? {
            break Some(log);
        }
    };
    let old = (1..=OLD_LOGS).filter_map(|number| open_if_there(&old_log(path, number)).transpose());
    Ok((log, old.collect::<io::Result<_>>()?))
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (own, named) = (file.metadata()?, fs::metadata(path));
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (own.dev(), own.ino())))
}

fn rotate_logs(path: &Path) -> io::Result<()> {
    for number in (0..OLD_LOGS).rev() {
        match fs::rename(old_log(path, number), old_log(path, number + 1)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the path of an old log; 0 is the log itself.
fn old_log(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
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

    #[test]
    fn a_line_that_does_not_fit_leaves_no_part() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("audit.log");
        // The part of a line that a power cut has left gets its end.
        fs::write(&log, "one\ntw").unwrap();
        append_line(&log, b"three\n", 500).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntw\nthree\n");
        // A process whose files may have 20 bytes gets a part of its line written, as on a full disk.
        let script = "trap '' XFSZ; exec prlimit --fsize=20 \"$@\"";
        let status = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "audit::tests::a_full_disk"])
            .env("PIKU_TEST_LOG", &log)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntw\nthree\n");
    }

    /// Runs in a process of the test above.
    #[test]
    fn a_full_disk() {
        let Some(log) = std::env::var_os("PIKU_TEST_LOG") else { return };
        let err = append_line(Path::new(&log), b"a line of more than seven bytes\n", 500).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_rotation_between_two_logs_repeats_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("audit.log");
        for line in ["old\n", "new\n"] {
            append_line(&log, line.as_bytes(), 1).unwrap();
        }
        let (first, old) = open_logs(&log).unwrap();
        // A writer waits for the reader of the first log.
        let writer = std::thread::spawn({
            let log = log.clone();
            move || append_line(&log, b"newest\n", 1).unwrap()
        });
        let mut first = first.unwrap();
        assert_eq!(io::read_to_string(&mut *first).unwrap(), "new\n");
        drop(first);
        writer.join().unwrap();
        let old: Vec<String> = old.into_iter().map(|old| io::read_to_string(old).unwrap()).collect();
        assert_eq!(old, ["old\n"]);
        assert!(open_logs(&dir.path().join("none")).unwrap().0.is_none());
    }

    #[test]
    fn writers_at_once_lose_no_line_when_logs_are_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("audit.log");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..50 {
                        append_line(log, format!("{writer} {number:02} of fifty\n").as_bytes(), 500).unwrap();
                    }
                });
            }
        });
        let texts: Vec<String> =
            (0..=OLD_LOGS).map_while(|number| fs::read_to_string(old_log(&log, number)).ok()).collect();
        assert_eq!(texts.len(), 6);
        assert!(texts.iter().all(|text| text.len() <= 500 + 14), "{texts:?}");
        let mut lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 200);
        // The oldest log goes.
        for _ in 0..500 {
            append_line(&log, b"0 00 of fifty\n", 500).unwrap();
        }
        assert!(old_log(&log, OLD_LOGS).exists() && !old_log(&log, OLD_LOGS + 1).exists());
    }
}
