//! Parses an ENV file into variables, or into diagnostics for all bad lines.

use std::collections::HashMap;

use indexmap::IndexMap;
use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics, column, quote_word};

use super::expand::{ExpandMode, ExpandProblem, MAX_STRING, ValueExpander};
use super::{EnvFile, is_name};
use crate::layout_marks::{find_layout_mark, layout_mark};
use crate::procfile::ParseOptions;

const BLANKS: [char; 2] = [' ', '\t'];
const NO_BLANKS: &str = "remove the blanks around '=': NAME=value";
const NAME_RULE: &str = "a name has A-Z, a-z, 0-9 and '_', and does not begin with a digit";
/// Linux's limit for the arguments and the environment of a program together: three quarters of the stack
/// of 8 MiB.
const MAX_TOTAL: usize = 6 << 20;

struct EnvParser<'a> {
    text: &'a str,
    file: &'a str,
    platform: &'a IndexMap<String, String>,
    options: ParseOptions,
    vars: IndexMap<String, String>,
    /// Line of each name.
    lines: HashMap<String, usize>,
    /// Size of all variables so far in the environment of a program.
    total: usize,
    errors: DiagnosticCollector,
    warnings: DiagnosticCollector,
    /// The warning that `--piku-compat` keeps quotes is given once.
    warned_of_quotes: bool,
}

/// A value before its expansion.
#[derive(Clone, Copy)]
struct EnvValue<'a> {
    text: &'a str,
    /// Byte of the file at which it begins.
    start: usize,
    mode: ExpandMode,
    /// A CR before a newline is part of the line end.
    crlf: bool,
}

/// A line that is neither blank nor a comment.
#[derive(Clone, Copy)]
struct EnvLine<'a> {
    number: usize,
    /// Byte of the file at which it begins.
    start: usize,
    /// Without the line end.
    text: &'a str,
}

/// Parses `text`, which diagnostics call `file`.
pub(super) fn parse_env(
    text: &[u8],
    file: &str,
    platform: &IndexMap<String, String>,
    options: ParseOptions,
) -> Result<EnvFile, Diagnostics> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lossy = String::from_utf8_lossy(text);
    let mut parser = EnvParser {
        text: &lossy,
        file,
        platform,
        options,
        vars: IndexMap::new(),
        lines: HashMap::new(),
        total: 0,
        errors: DiagnosticCollector::default(),
        warnings: DiagnosticCollector::default(),
        warned_of_quotes: false,
    };
    if std::str::from_utf8(text).is_err() {
        parser.add_utf8_errors(text);
    }
    parser.parse_lines();
    if parser.errors.is_empty() {
        Ok(EnvFile { vars: parser.vars, lines: parser.lines, warnings: parser.warnings.finish() })
    } else {
        Err(Diagnostics(parser.errors.finish()))
    }
}

impl<'a> EnvParser<'a> {
    fn add_utf8_errors(&mut self, text: &[u8]) {
        for (at, line) in text.split(|b| *b == b'\n').enumerate() {
            if let Err(err) = std::str::from_utf8(line) {
                let column = String::from_utf8_lossy(&line[..err.valid_up_to()]).chars().count() + 1;
                let mut found = Diagnostic::error(self.file, at + 1, "this is not UTF-8");
                found.column = Some(column);
                self.errors.push(|| found.hint("save the file as UTF-8"));
            }
        }
    }

    fn parse_lines(&mut self) {
        let (mut start, mut number) = (0, 1);
        while start < self.text.len() {
            let rest = &self.text[start..];
            let end = rest.find('\n').unwrap_or(rest.len());
            let text = rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]);
            let shown = text.trim_matches(BLANKS);
            let mut next = start + end + 1;
            if !shown.is_empty() && !shown.starts_with('#') {
                // A quoted value may continue on further lines.
                next = next.max(self.parse_assignment(EnvLine { number, start, text }));
            }
            if self.total > MAX_TOTAL {
                let file = self.file;
                self.errors.push(|| {
                    Diagnostic::error(file, number, "all variables together exceed Linux's limit of 6 MiB")
                });
                return;
            }
            number += if next == start + end + 1 { 1 } else { self.text[start..next].matches('\n').count() };
            start = next;
        }
    }

    /// Parses an assignment. Returns the byte after it if it has several lines, else 0.
    fn parse_assignment(&mut self, line: EnvLine<'a>) -> usize {
        let mut at = line.text.len() - line.text.trim_start_matches(BLANKS).len();
        if let Some(rest) = line.text[at..].strip_prefix("export") {
            if rest.starts_with(BLANKS) {
                at = line.text.len() - rest.trim_start_matches(BLANKS).len();
            }
        }
        let Some(equals) = line.text[at..].find('=').map(|equals| at + equals) else {
            self.add_error(|file| no_equals(file, line, at));
            return 0;
        };
        let name = &line.text[at..equals];
        if !is_name(name) {
            self.add_error(|file| bad_name(file, line, at, name));
            return 0;
        }
        let value = &line.text[equals + 1..];
        match value.chars().next() {
            Some(quote @ ('"' | '\'')) => self.parse_quoted(line, name, equals + 1, quote),
            Some(' ' | '\t') if !is_blank_or_comment(value) => {
                self.add_error(|file| {
                    error_at(file, line, equals + 1, "a blank after the '='").hint(NO_BLANKS)
                });
                0
            }
            _ => {
                self.parse_bare(line, name, equals + 1);
                0
            }
        }
    }

    /// Parses a value without quotes, which begins at byte `at` of the line.
    fn parse_bare(&mut self, line: EnvLine<'a>, name: &str, at: usize) {
        let bytes = line.text.as_bytes();
        // A comment needs a blank before it.
        let comment = line.text[at..]
            .match_indices('#')
            .map(|(hash, _)| at + hash)
            .find(|hash| *hash > at && matches!(bytes[hash - 1], b' ' | b'\t'));
        let value = line.text[at..comment.unwrap_or(line.text.len())].trim_end_matches(BLANKS);
        if let Some((bad, c)) = value.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
            let message = match c {
                '\0' => "a NUL byte in the value".to_owned(),
                '\r' => "a carriage return in the value".to_owned(),
                c => format!("a control character (U+{:04X}) in the value", u32::from(c)),
            };
            self.add_error(|file| error_at(file, line, at + bad, message));
            return;
        }
        self.set_variable(
            line,
            name,
            EnvValue { text: value, start: line.start + at, mode: ExpandMode::Bare, crlf: false },
        );
    }

    /// Parses a quoted value, whose quote opens at byte `at` of the line. Returns the byte after the
    /// value's last line.
    fn parse_quoted(&mut self, line: EnvLine<'a>, name: &str, at: usize, quote: char) -> usize {
        let open = line.start + at;
        let inside = &self.text[open + 1..];
        let Some(length) = find_closing_quote(inside, quote) else {
            self.add_error(|file| error_at(file, line, at, format!("the quote {quote} is not closed")));
            return 0;
        };
        let text = &inside[..length];
        let after = &inside[length + 1..];
        let end = after.find('\n');
        let tail = &after[..end.unwrap_or(after.len())];
        // Line ends inside the value are like the one of its last line.
        let crlf = end.is_none() || tail.ends_with('\r');
        let tail = tail.strip_suffix('\r').unwrap_or(tail);
        let comment = tail.trim_start_matches(BLANKS);
        if !comment.is_empty() && (!comment.starts_with('#') || comment.len() == tail.len()) {
            self.add_error(|file| text_after_quote(file, line, at, text, quote));
            return 0;
        }
        if let Some(bad) = text.find('\0') {
            let number = line.number + text[..bad].matches('\n').count();
            self.add_error(|file| Diagnostic::error(file, number, "a NUL byte in the value"));
        } else {
            let mode = match (quote, self.options.piku_compat) {
                ('"', false) => ExpandMode::Double,
                ('"', true) => ExpandMode::Raw,
                _ => ExpandMode::Literal,
            };
            self.set_variable(line, name, EnvValue { text, start: open + 1, mode, crlf });
            if self.options.piku_compat {
                self.keep_quotes(line, name, quote);
            }
        }
        open + 1 + length + 1 + end.map_or(after.len(), |end| end + 1)
    }

    /// Expands the value and sets the variable, or adds an error.
    fn set_variable(&mut self, line: EnvLine<'a>, name: &str, value: EnvValue<'a>) {
        if let Some((at, c)) = find_layout_mark(value.text) {
            let (file, text) = (self.file, self.text);
            let problem = ExpandProblem::new(at, layout_mark(c));
            self.warnings.push(|| locate_problem(file, text, line, value.start, problem).warning());
        }
        let mut expander = ValueExpander::new(value.text, value.mode, value.crlf, &self.vars, self.platform);
        let result = expander.expand();
        let warnings = std::mem::take(&mut expander.warnings);
        for problem in warnings {
            let (file, text) = (self.file, self.text);
            self.warnings.push(|| locate_problem(file, text, line, value.start, problem).warning());
        }
        let result = match result {
            Ok(value) if name.len() + value.len() + 2 > MAX_STRING => {
                Err(ExpandProblem::new(0, "longer than Linux's limit of 128 KiB per variable"))
            }
            result => result,
        };
        let result = match result {
            Ok(value) => value,
            Err(problem) => {
                let text = self.text;
                self.add_error(|file| locate_problem(file, text, line, value.start, problem));
                // A later use of the name is not another error.
                String::new()
            }
        };
        // With '=', the NUL and a pointer.
        self.total += name.len() + result.len() + 10;
        if let Some(first) = self.lines.insert(name.to_owned(), line.number) {
            let file = self.file;
            self.warnings.push(|| {
                let message = format!(
                    "{} is already set on line {first}; this line takes precedence",
                    quote_word(name)
                );
                Diagnostic::error(file, line.number, message).warning()
            });
        }
        self.vars.insert(name.to_owned(), result);
    }

    /// Puts the quotes back around a value, with `--piku-compat`.
    fn keep_quotes(&mut self, line: EnvLine<'a>, name: &str, quote: char) {
        if let Some(value) = self.vars.get_mut(name) {
            *value = format!("{quote}{value}{quote}");
        }
        if !std::mem::replace(&mut self.warned_of_quotes, true) {
            let file = self.file;
            self.warnings.push(|| {
                Diagnostic::error(file, line.number, "--piku-compat keeps the quotes as part of the value")
                    .warning()
            });
        }
    }

    fn add_error(&mut self, make: impl FnOnce(&str) -> Diagnostic) {
        self.errors.push(|| make(self.file));
    }
}

fn is_blank_or_comment(text: &str) -> bool {
    let text = text.trim_matches(BLANKS);
    text.is_empty() || text.starts_with('#')
}

/// Returns the length of the text before the closing quote.
fn find_closing_quote(inside: &str, quote: char) -> Option<usize> {
    if quote == '\'' {
        return inside.find('\'');
    }
    let mut from = 0;
    loop {
        let at = from + inside[from..].find(['"', '\\'])?;
        if inside[at..].starts_with('"') {
            return Some(at);
        }
        from = at + 1 + inside[at + 1..].chars().next()?.len_utf8();
    }
}

/// Returns an error at a byte of the line. It does not show the value, which may be secret: deploy logs
/// are stored.
fn error_at(file: &str, line: EnvLine<'_>, at: usize, message: impl Into<String>) -> Diagnostic {
    let shown = line.text.find('=').map(|equals| format!("{}…", &line.text[..=equals]));
    match shown {
        Some(shown) if at < shown.len() - '…'.len_utf8() => {
            Diagnostic::error(file, line.number, message).quote_at(&shown, at)
        }
        Some(shown) => {
            let mut found = Diagnostic::error(file, line.number, message).quote(&shown);
            found.column = Some(column(line.text, at));
            found
        }
        None => Diagnostic::error(file, line.number, message),
    }
}

/// Returns an error with its line and column, which may be on a later line of the value.
fn locate_problem(
    file: &str,
    text: &str,
    line: EnvLine<'_>,
    start: usize,
    problem: ExpandProblem,
) -> Diagnostic {
    let before = &text[line.start..start + problem.at];
    let found = match before.rfind('\n') {
        None => error_at(file, line, before.len(), problem.message),
        Some(newline) => {
            let number = line.number + before.matches('\n').count();
            let mut found = Diagnostic::error(file, number, problem.message);
            found.column = Some(before[newline + 1..].chars().count() + 1);
            found
        }
    };
    match problem.hint {
        Some(hint) => found.hint(hint),
        None => found,
    }
}

fn text_after_quote(file: &str, line: EnvLine<'_>, at: usize, value: &str, quote: char) -> Diagnostic {
    let lines = value.matches('\n').count();
    if lines == 0 {
        return error_at(file, line, at + value.len() + 2, "text after the closing quote")
            .hint("quote the whole value or none of it");
    }
    let message = format!(
        "the quote {quote} that opens here closes on line {}, where text follows",
        line.number + lines
    );
    error_at(file, line, at, message).hint("is its own closing quote missing?")
}

fn no_equals(file: &str, line: EnvLine<'_>, at: usize) -> Diagnostic {
    let text = &line.text[at..];
    let name = &text[..text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())];
    let found = Diagnostic::error(file, line.number, "this is not NAME=value: it has no '='");
    // The text is not shown: after a name and a colon it is a value, and otherwise it may be part of one.
    if is_name(name) && text[name.len()..].trim_start_matches(BLANKS).starts_with(':') {
        found.hint(format!("use '=' instead of ':' after {}", quote_word(name)))
    } else {
        found.hint("put a value of several lines between quotes")
    }
}

fn bad_name(file: &str, line: EnvLine<'_>, at: usize, name: &str) -> Diagnostic {
    let trimmed = name.trim_end_matches(BLANKS);
    if is_name(trimmed) && trimmed.len() < name.len() {
        let found = error_at(file, line, at + trimmed.len(), "a blank before the '='");
        return found.hint(NO_BLANKS);
    }
    if trimmed.is_empty() {
        return error_at(file, line, at, "there is no name before the '='");
    }
    // Other text is probably not a name and may be part of a secret.
    let looks_like_name = name.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
    if !looks_like_name {
        let found = Diagnostic::error(file, line.number, "the text before the '=' is not a name");
        return found.hint(NAME_RULE);
    }
    let bad = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(0);
    error_at(file, line, at + bad, format!("bad name {}", quote_word(name))).hint(NAME_RULE)
}
