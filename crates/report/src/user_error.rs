//! Errors for users. Each is printed once: the name that the user called, the message and its causes after
//! colons, then a hint on its own line. During a deploy each line has the mark that `git push` shows for errors
//! in place of the name.

use std::borrow::Cow;
use std::fmt;
use std::process::ExitCode;

use crate::caller;
use crate::diagnostic::Diagnostics;
use crate::progress;

/// Set to `deploy` by piku-receive for the hook: errors are then printed as a push shows them, with ` !     `
/// before each line.
pub const TALK: &str = "PIKU_TALK";

/// Exit code 1: it failed, or the answer is "no".
pub const FAILED: u8 = 1;
/// Exit code 2: the command line was wrong (what clap uses).
pub const USAGE: u8 = 2;
/// Exit code 75: busy, try again (`EX_TEMPFAIL` of sysexits.h).
pub const BUSY: u8 = 75;

/// Hint of an error without one that comes from a full disk, also one without free inodes.
const DISK_FULL_HINT: &str =
    "free some space: 'df -h' and 'df -i' show which disk is full, 'piku gc' removes what no app needs";

/// An error with hints and an exit code. It travels inside an [`anyhow::Error`].
#[derive(Debug)]
pub struct UserError {
    message: String,
    hints: Vec<String>,
    code: u8,
    is_printed: bool,
}

impl UserError {
    /// Creates an error with exit code 1 and no hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new(), code: FAILED, is_printed: false }
    }

    /// Adds a hint: a line that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds another error: its message on a new line, and its hints without duplicates.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.message = format!("{}\n{}", self.message, other.message);
        for hint in other.hints {
            if !self.hints.contains(&hint) {
                self.hints.push(hint);
            }
        }
        self
    }

    /// Sets the exit code of the tool.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Keeps [`report`] from printing it: a tool that this one ran has printed why it failed.
    #[must_use]
    pub fn printed(mut self) -> Self {
        self.is_printed = true;
        self
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UserError {}

/// Adds a hint to any failed result.
pub trait WithHint<T> {
    /// Adds a hint to the error.
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithHint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|err| {
            let err = err.into();
            let (hints, code) = advice(&err);
            let mut failure = UserError { hints, ..UserError::new(format!("{err:#}")).code(code) };
            failure.hints.push(hint.into());
            failure.into()
        })
    }
}

/// Returns the hints and the exit code of an error, from anywhere in its chain.
#[must_use]
pub fn advice(err: &anyhow::Error) -> (Vec<String>, u8) {
    find_user_error(err).map_or((Vec::new(), FAILED), |failure| (failure.hints.clone(), failure.code))
}

fn find_user_error(err: &anyhow::Error) -> Option<&UserError> {
    err.chain().find_map(|cause| cause.downcast_ref())
}

/// Prints the error on stderr and returns the exit code, even if stderr is closed.
///
/// Diagnostics begin with the name of their file, not of the tool.
#[must_use]
pub fn report(tool: &str, err: &anyhow::Error) -> ExitCode {
    let (mut hints, code) = advice(err);
    if find_user_error(err).is_some_and(|failure| failure.is_printed) {
        return ExitCode::from(code);
    }
    if hints.is_empty() && is_disk_full(&format!("{err:#}")) {
        hints.push(DISK_FULL_HINT.to_owned());
    }
    let mut text = match err.downcast_ref::<Diagnostics>() {
        Some(diagnostics) => diagnostics.to_string(),
        None => format!("{}{err:#}", caller::message_prefix(tool)),
    };
    for hint in hints {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    tell(&text);
    ExitCode::from(code)
}

/// Returns whether a message ends with what the kernel says of a full disk or a used-up quota. The text counts, since
/// errors of a supervisor come as text.
fn is_disk_full(message: &str) -> bool {
    message.ends_with("(os error 28)") || message.ends_with("(os error 122)")
}

/// Prints whole lines on stderr, during a deploy in the form that the push shows.
pub fn tell(text: &str) {
    let margin = if caller::is_push() { progress::ERROR } else { "" };
    let lines: Vec<_> = text.lines().map(brief).collect();
    progress::print(margin, &lines.join("\n"));
}

/// Shortens a very long line, such as one that quotes a minified file, to its beginning and its end.
fn brief(line: &str) -> Cow<'_, str> {
    const BEGINNING: usize = 1500;
    const END: usize = 300;
    let Some((cut, _)) = line.char_indices().nth(BEGINNING) else { return line.into() };
    match line[cut..].char_indices().rev().nth(END - 1) {
        Some((rest, _)) if rest > 0 => format!("{} … {}", &line[..cut], &line[cut + rest..]).into(),
        _ => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_line_that_is_none_for_reading_is_cut() {
        let long = format!("it begins{}: this is the reason", "é".repeat(90_000));
        let shown = brief(&long);
        assert!(shown.starts_with("it beginsé") && shown.ends_with("é: this is the reason"), "{shown}");
        assert_eq!(shown.chars().count(), 1500 + 3 + 300);
        for whole in [String::new(), "é".repeat(1500), "é".repeat(1800)] {
            assert_eq!(brief(&whole), whole);
        }
    }

    #[test]
    fn hint_and_code_survive_context() {
        let err = Err::<(), _>(UserError::new("locked").code(BUSY))
            .hint("wait")
            .context("cannot deploy")
            .unwrap_err();
        assert_eq!(format!("{err:#}"), "cannot deploy: locked");
        assert_eq!(advice(&err), (vec!["wait".to_owned()], BUSY));
    }

    #[test]
    fn a_full_disk_is_known_by_its_text() {
        let full = std::io::Error::from_raw_os_error(28);
        let err = anyhow::Error::from(full).context("cannot write 'x'");
        assert!(is_disk_full(&format!("{err:#}")));
        assert!(!is_disk_full("cannot write 'x': Permission denied (os error 13)"));
    }

    #[test]
    fn a_plain_error_has_no_hint_and_code_1() {
        assert_eq!(advice(&anyhow::anyhow!("x")), (Vec::new(), FAILED));
    }
}
