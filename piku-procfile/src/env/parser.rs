//! From an ENV file's bytes to its variables, or to everything that is wrong with them.

use std::collections::HashMap;

use indexmap::IndexMap;
use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics, column, word};

use super::expand::{ExpandMode, ExpandProblem, MAX_STRING, ValueExpander};
use super::{EnvFile, is_name};
use crate::procfile::ParseOptions;

const BLANKS: [char; 2] = [' ', '\t'];
const NO_BLANKS: &str = "drop the blanks around the '=': NAME=value";
const NAME_RULE: &str = "a name is A-Z, a-z, 0-9 and '_', with no digit in front";
/// Linux gives a new program no more than this for its arguments and environment together (three quarters of 8 MiB).
const MAX_TOTAL: usize = 6 << 20;

/// The state of one run over the file.
struct EnvParser<'a> {
    text: &'a str,
    file: &'a str,
    platform: &'a IndexMap<String, String>,
    options: ParseOptions,
    vars: IndexMap<String, String>,
    /// Where each name stands.
    lines: HashMap<String, usize>,
    /// The length of all values, as they have been met.
    total: usize,
    errors: DiagnosticCollector,
    warnings: DiagnosticCollector,
    /// `--piku-compat` has said once that quotes are kept.
    quotes_said: bool,
}

/// A value as the file has it.
#[derive(Clone, Copy)]
struct EnvValue<'a> {
    text: &'a str,
    /// Where in the file it begins.
    start: usize,
    mode: ExpandMode,
    /// Whether a CR before a newline belongs to the line's end.
    crlf: bool,
}

/// One line that is not blank and no comment.
#[derive(Clone, Copy)]
struct EnvLine<'a> {
    number: usize,
    /// Where in the file it begins.
    start: usize,
    /// Without its end.
    text: &'a str,
}

/// Parses `text`, which diagnostics call `file`.
pub(super) fn parse(
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
        quotes_said: false,
    };
    if std::str::from_utf8(text).is_err() {
        parser.not_utf8(text);
    }
    parser.run();
    if parser.errors.is_empty() {
        Ok(EnvFile { vars: parser.vars, lines: parser.lines, warnings: parser.warnings.finish() })
    } else {
        Err(Diagnostics(parser.errors.finish()))
    }
}

impl<'a> EnvParser<'a> {
    fn not_utf8(&mut self, text: &[u8]) {
        for (at, line) in text.split(|b| *b == b'\n').enumerate() {
            if let Err(err) = std::str::from_utf8(line) {
                let column = String::from_utf8_lossy(&line[..err.valid_up_to()]).chars().count() + 1;
                let mut found = Diagnostic::error(self.file, at + 1, "this is not UTF-8");
                found.column = Some(column);
                self.errors.push(|| found.hint("save the file as UTF-8"));
            }
        }
    }

    fn run(&mut self) {
        let (mut start, mut number) = (0, 1);
        while start < self.text.len() {
            let rest = &self.text[start..];
            let end = rest.find('\n').unwrap_or(rest.len());
            let text = rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]);
            let shown = text.trim_matches(BLANKS);
            let mut next = start + end + 1;
            if !shown.is_empty() && !shown.starts_with('#') {
                // A value between quotes may have taken more lines than this one.
                next = next.max(self.assignment(EnvLine { number, start, text }));
            }
            if self.total > MAX_TOTAL {
                let file = self.file;
                self.errors.push(|| {
                    Diagnostic::error(
                        file,
                        number,
                        "all values together are longer than the 6 MiB that Linux takes",
                    )
                });
                return;
            }
            number += if next == start + end + 1 { 1 } else { self.text[start..next].matches('\n').count() };
            start = next;
        }
    }

    /// One line with a variable. Returns where the next line begins, when that is after further lines.
    fn assignment(&mut self, line: EnvLine<'a>) -> usize {
        let mut at = line.text.len() - line.text.trim_start_matches(BLANKS).len();
        if let Some(rest) = line.text[at..].strip_prefix("export") {
            if rest.starts_with(BLANKS) {
                at = line.text.len() - rest.trim_start_matches(BLANKS).len();
            }
        }
        let Some(equals) = line.text[at..].find('=').map(|equals| at + equals) else {
            self.refuse(|file| no_equals(file, line, at));
            return 0;
        };
        let name = &line.text[at..equals];
        if !is_name(name) {
            self.refuse(|file| bad_name(file, line, at, name));
            return 0;
        }
        let value = &line.text[equals + 1..];
        match value.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(line, name, equals + 1, quote),
            Some(' ' | '\t') if !is_blank_or_comment(value) => {
                self.refuse(|file| at_byte(file, line, equals + 1, "a blank after the '='").hint(NO_BLANKS));
                0
            }
            _ => {
                self.bare(line, name, equals + 1);
                0
            }
        }
    }

    /// A value without quotes, from byte `at` of the line.
    fn bare(&mut self, line: EnvLine<'a>, name: &str, at: usize) {
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
            self.refuse(|file| at_byte(file, line, at + bad, message));
            return;
        }
        self.set(
            line,
            name,
            EnvValue { text: value, start: line.start + at, mode: ExpandMode::Bare, crlf: false },
        );
    }

    /// A value between quotes, which open at byte `at` of the line. Returns where the line after it begins.
    fn quoted(&mut self, line: EnvLine<'a>, name: &str, at: usize, quote: char) -> usize {
        let open = line.start + at;
        let inside = &self.text[open + 1..];
        let Some(length) = closing(inside, quote) else {
            self.refuse(|file| at_byte(file, line, at, format!("the quote {quote} is not closed")));
            return 0;
        };
        let text = &inside[..length];
        let after = &inside[length + 1..];
        let end = after.find('\n');
        let tail = &after[..end.unwrap_or(after.len())];
        // The line ends inside the value are those of the line that ends it.
        let crlf = end.is_none() || tail.ends_with('\r');
        let tail = tail.strip_suffix('\r').unwrap_or(tail);
        let comment = tail.trim_start_matches(BLANKS);
        if !comment.is_empty() && (!comment.starts_with('#') || comment.len() == tail.len()) {
            self.refuse(|file| text_after_quote(file, line, at, text, quote));
            return 0;
        }
        if let Some(bad) = text.find('\0') {
            let number = line.number + text[..bad].matches('\n').count();
            self.refuse(|file| Diagnostic::error(file, number, "a NUL byte in the value"));
        } else {
            let mode = match (quote, self.options.piku_compat) {
                ('"', false) => ExpandMode::Double,
                ('"', true) => ExpandMode::Raw,
                _ => ExpandMode::Literal,
            };
            self.set(line, name, EnvValue { text, start: open + 1, mode, crlf });
            if self.options.piku_compat {
                self.keep_quotes(line, name, quote);
            }
        }
        open + 1 + length + 1 + end.map_or(after.len(), |end| end + 1)
    }

    /// Gives the variable its value, or says what is wrong with it.
    fn set(&mut self, line: EnvLine<'a>, name: &str, value: EnvValue<'a>) {
        let mut expander = ValueExpander::new(value.text, value.mode, value.crlf, &self.vars, self.platform);
        let made = expander.run();
        let warnings = std::mem::take(&mut expander.warnings);
        for problem in warnings {
            let (file, text) = (self.file, self.text);
            self.warnings.push(|| place(file, text, line, value.start, problem).warning());
        }
        let made = match made {
            Ok(made) if name.len() + made.len() + 2 > MAX_STRING => {
                Err(ExpandProblem::new(0, "longer than the 128 KiB that Linux takes for one variable"))
            }
            made => made,
        };
        let made = match made {
            Ok(made) => made,
            Err(problem) => {
                let text = self.text;
                self.refuse(|file| place(file, text, line, value.start, problem));
                // A later use of the name is not one error more.
                String::new()
            }
        };
        // With '=', NUL and the pointer to it.
        self.total += name.len() + made.len() + 10;
        if let Some(first) = self.lines.insert(name.to_owned(), line.number) {
            let file = self.file;
            self.warnings.push(|| {
                let message = format!("{} is already on line {first}: this one counts", word(name));
                Diagnostic::error(file, line.number, message).warning()
            });
        }
        self.vars.insert(name.to_owned(), made);
    }

    /// `--piku-compat`: the value just set gets its quotes back.
    fn keep_quotes(&mut self, line: EnvLine<'a>, name: &str, quote: char) {
        if let Some(value) = self.vars.get_mut(name) {
            *value = format!("{quote}{value}{quote}");
        }
        if !std::mem::replace(&mut self.quotes_said, true) {
            let file = self.file;
            self.warnings.push(|| {
                Diagnostic::error(file, line.number, "quotes are part of the value with --piku-compat")
                    .warning()
            });
        }
    }

    fn refuse(&mut self, make: impl FnOnce(&str) -> Diagnostic) {
        self.errors.push(|| make(self.file));
    }
}

fn is_blank_or_comment(text: &str) -> bool {
    let text = text.trim_matches(BLANKS);
    text.is_empty() || text.starts_with('#')
}

/// The length of what stands before the closing quote.
fn closing(inside: &str, quote: char) -> Option<usize> {
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

/// An error at a byte of the line. The value is not shown: it may be secret, and a deploy's log is kept.
fn at_byte(file: &str, line: EnvLine<'_>, at: usize, message: impl Into<String>) -> Diagnostic {
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

/// An error inside a value, on whichever of its lines.
fn place(file: &str, text: &str, line: EnvLine<'_>, start: usize, problem: ExpandProblem) -> Diagnostic {
    let before = &text[line.start..start + problem.at];
    let found = match before.rfind('\n') {
        None => at_byte(file, line, before.len(), problem.message),
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
        return at_byte(file, line, at + value.len() + 2, "text after the closing quote")
            .hint("quote the whole value, or none of it");
    }
    let message = format!(
        "the quote {quote} that opens here closes on line {}, where text follows",
        line.number + lines
    );
    at_byte(file, line, at, message).hint("is its own closing quote missing?")
}

fn no_equals(file: &str, line: EnvLine<'_>, at: usize) -> Diagnostic {
    let text = &line.text[at..];
    let name = &text[..text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())];
    let found = Diagnostic::error(file, line.number, "this is not NAME=value: it has no '='");
    // What follows a name and a colon is a value, and a line with neither may be part of one.
    if is_name(name) && text[name.len()..].trim_start_matches(BLANKS).starts_with(':') {
        found.hint(format!("write {} with '=' in place of the colon", word(name)))
    } else {
        found.hint("a value of several lines stands between quotes")
    }
}

fn bad_name(file: &str, line: EnvLine<'_>, at: usize, name: &str) -> Diagnostic {
    let trimmed = name.trim_end_matches(BLANKS);
    if is_name(trimmed) && trimmed.len() < name.len() {
        let found = at_byte(file, line, at + trimmed.len(), "a blank before the '='");
        return found.hint(NO_BLANKS);
    }
    if trimmed.is_empty() {
        return at_byte(file, line, at, "no name before the '='");
    }
    // Something longer is hardly a name; it may be part of a secret.
    let looks_like_one = name.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
    if !looks_like_one {
        let found = Diagnostic::error(file, line.number, "what stands before the '=' is not a name");
        return found.hint(NAME_RULE);
    }
    let bad = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(0);
    at_byte(file, line, at + bad, format!("bad name {}", word(name))).hint(NAME_RULE)
}
