//! Progress of a deploy on stderr, in the form that Heroku made known. Nothing here fails: a client that
//! has gone away must not stop a deploy.

use std::io::Write;

use crate::diagnostic::readable;
use crate::terminal::coloured_text;

const STEP: &str = "-----> ";
const DETAIL: &str = "       ";
pub(crate) const ERROR: &str = " !     ";

/// Prints `-----> TEXT`: a step begins, or a decision has been made.
pub fn step(text: &str) {
    print(STEP, text);
}

/// Prints a detail of the step before, indented.
pub fn detail(text: &str) {
    print(DETAIL, text);
}

/// Prints a line of a program's output as a detail, with its colours.
pub fn program_output(line: &str) {
    write(&format!("{DETAIL}{}\n", coloured_text(line.as_bytes())));
}

/// Prints ` !     warning: TEXT`.
pub fn warning(text: &str) {
    error(&format!("warning: {text}"));
}

/// Prints ` !     TEXT`.
pub fn error(text: &str) {
    print(ERROR, text);
}

/// Prints `HOST | LINE`: a line of another machine, which has its own marks and colours.
pub fn remote(host: &str, line: &str) {
    write(&format!("{host} | {}\n", coloured_text(line.as_bytes())));
}

/// Prints each line of `text` behind `mark`; below a step's arrow, further lines are indented.
pub(crate) fn print(mark: &str, text: &str) {
    let mut lines = String::with_capacity(mark.len() + text.len() + 1);
    for (at, line) in text.lines().enumerate() {
        lines.push_str(if at > 0 && mark == STEP { DETAIL } else { mark });
        lines.push_str(&readable(line));
        lines.push('\n');
    }
    write(&lines);
}

/// Writes everything at once, so that the lines of two processes do not mix.
fn write(lines: &str) {
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}
