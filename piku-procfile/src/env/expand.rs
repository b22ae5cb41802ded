//! Expands a value: escapes, `$NAME` and `${NAME:-default}`. One pass over the text; nothing is executed.

use indexmap::IndexMap;
use piku_report::diagnostic::quote_word;

use super::PLATFORM;

/// Maximum nesting of `${A:-${B:-…}}`.
const MAX_DEPTH: usize = 32;
/// Linux's limit for one argument or environment string in bytes, with its NUL (`MAX_ARG_STRLEN` with 4 kB
/// pages).
pub(crate) const MAX_STRING: usize = 128 << 10;

/// Quoting of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpandMode {
    /// Without quotes: a backslash is literal, but `\$` is a dollar.
    Bare,
    /// Between `"`: a backslash escapes.
    Double,
    /// Between `"` with `--piku-compat`: a backslash is literal.
    Raw,
    /// Between `'`: everything is literal.
    Literal,
}

/// An error or warning at a byte of a value.
#[derive(Debug)]
pub(super) struct ExpandProblem {
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl ExpandProblem {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

pub(super) struct ValueExpander<'a> {
    text: &'a str,
    at: usize,
    mode: ExpandMode,
    /// Line ends are CRLF; the CR is not part of the value.
    crlf: bool,
    earlier: &'a IndexMap<String, String>,
    platform: &'a IndexMap<String, String>,
    depth: usize,
    pub(super) warnings: Vec<ExpandProblem>,
}

const COMPUTE: &str = "compute it in the app's start script";
const KEEP_DOLLAR: &str = "single quotes keep '$' literally";

impl<'a> ValueExpander<'a> {
    pub(super) fn new(
        text: &'a str,
        mode: ExpandMode,
        crlf: bool,
        earlier: &'a IndexMap<String, String>,
        platform: &'a IndexMap<String, String>,
    ) -> Self {
        Self { text, at: 0, mode, crlf, earlier, platform, depth: 0, warnings: Vec::new() }
    }

    pub(super) fn expand(&mut self) -> Result<String, ExpandProblem> {
        let mut value = String::new();
        self.expand_until(None, &mut Some(&mut value))?;
        Ok(value)
    }

    /// Expands up to and with `end`, or to the end of the text, and returns true if it found `end`.
    /// Without `out`, the text is skipped.
    fn expand_until(
        &mut self,
        end: Option<char>,
        out: &mut Option<&mut String>,
    ) -> Result<bool, ExpandProblem> {
        while let Some(c) = self.peek() {
            let start = self.at;
            self.at += c.len_utf8();
            match c {
                c if Some(c) == end => return Ok(true),
                '\r' if self.crlf && self.peek() == Some('\n') => {}
                c if self.mode == ExpandMode::Literal => push(out, c.encode_utf8(&mut [0; 4])),
                '\\' => self.expand_backslash(end, out),
                '$' => self.expand_dollar(start, out)?,
                '`' => self.copy_backticks(start, out),
                c => push(out, c.encode_utf8(&mut [0; 4])),
            }
            if out.as_ref().is_some_and(|out| out.len() > MAX_STRING) {
                return Err(ExpandProblem::new(start, "longer than Linux's limit of 128 KiB per variable"));
            }
        }
        Ok(false)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn expand_backslash(&mut self, end: Option<char>, out: &mut Option<&mut String>) {
        let next = self.peek();
        let meant = match (self.mode, next) {
            (ExpandMode::Bare | ExpandMode::Double, Some('$')) => "$",
            (ExpandMode::Double, Some('n')) => "\n",
            (ExpandMode::Double, Some('r')) => "\r",
            (ExpandMode::Double, Some('t')) => "\t",
            (ExpandMode::Double, Some('"')) => "\"",
            (ExpandMode::Double, Some('\\')) => "\\",
            (ExpandMode::Double, Some('`')) => "`",
            // A continued line, as in a shell.
            (ExpandMode::Double, Some('\n')) => "",
            (ExpandMode::Double, Some('\r')) if self.crlf && self.text[self.at..].starts_with("\r\n") => {
                self.at += 1;
                ""
            }
            (ExpandMode::Bare | ExpandMode::Double, Some('}')) if end.is_some() => "}",
            _ => return push(out, "\\"),
        };
        self.at += 1;
        push(out, meant);
    }

    /// Expands what follows a `$` at byte `start`.
    fn expand_dollar(&mut self, start: usize, out: &mut Option<&mut String>) -> Result<(), ExpandProblem> {
        match self.peek() {
            // Two dollars are literal: 'p@$$w0rd'.
            Some('$') => {
                self.at += 1;
                push(out, "$$");
            }
            Some('(') => self.copy_substitution(start, out),
            Some('{') => {
                self.at += 1;
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(ExpandProblem::new(start, "'${' is nested too deeply"));
                }
                self.expand_braces(start, out)?;
                self.depth -= 1;
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.read_name();
                let value = self.value_or_empty(start, name, out);
                push(out, value);
            }
            _ => push(out, "$"),
        }
        Ok(())
    }

    /// Copies `$(…)` literally.
    fn copy_substitution(&mut self, start: usize, out: &mut Option<&mut String>) {
        self.warn(out, start, "'$(…)' is kept as text and not executed", Some(COMPUTE));
        let mut open = 0_usize;
        for (at, c) in self.text[self.at..].char_indices() {
            match c {
                '(' => open += 1,
                ')' => open -= 1,
                _ => continue,
            }
            if open == 0 {
                self.at += at + 1;
                return push(out, &self.text[start..self.at]);
            }
        }
        self.at = self.text.len();
        push(out, &self.text[start..]);
    }

    /// Copies "`…`" literally. A single backtick is an ordinary character.
    fn copy_backticks(&mut self, start: usize, out: &mut Option<&mut String>) {
        if let Some(length) = self.text[self.at..].find('`') {
            self.warn(out, start, "'`…`' is kept as text and not executed", Some(COMPUTE));
            self.at += length + 1;
        }
        push(out, &self.text[start..self.at]);
    }

    /// Expands what follows `${`, up to and with the `}`.
    fn expand_braces(&mut self, start: usize, out: &mut Option<&mut String>) -> Result<(), ExpandProblem> {
        let name = self.read_name();
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            return Err(ExpandProblem::new(start, "no name after '${'").hint(KEEP_DOLLAR));
        }
        let unfinished = || {
            ExpandProblem::new(start, format!("{} has no '}}'", quote_word(&format!("${{{name}"))))
                .hint(KEEP_DOLLAR)
        };
        let mut next = self.peek().ok_or_else(unfinished)?;
        self.at += next.len_utf8();
        if next == '}' {
            let value = self.value_or_empty(start, name, out);
            push(out, value);
            return Ok(());
        }
        let mut value = self.find_value(name);
        if next == ':' {
            // With a colon, an empty value counts as unset.
            value = value.filter(|value| !value.is_empty());
            next = self.peek().ok_or_else(unfinished)?;
            self.at += next.len_utf8();
        }
        // The value that replaces the word after the operator, or `None` to expand that word.
        let replacement = match next {
            '-' => value,
            '+' if value.is_none() => Some(""),
            '+' => None,
            '?' => return self.expand_required(start, name, value, out),
            _ => {
                return Err(ExpandProblem::new(
                    start,
                    format!("{} has an unknown operator", quote_word(&format!("${{{name}"))),
                ))
                .map_err(|problem| {
                    problem.hint("use ${NAME}, ${NAME:-default}, ${NAME:?message} or ${NAME:+other}")
                });
            }
        };
        let ended = match replacement {
            Some(value) => {
                push(out, value);
                self.expand_until(Some('}'), &mut None)?
            }
            None => self.expand_until(Some('}'), out)?,
        };
        if ended { Ok(()) } else { Err(unfinished()) }
    }

    /// Expands what follows `${NAME:?`.
    fn expand_required(
        &mut self,
        start: usize,
        name: &str,
        value: Option<&str>,
        out: &mut Option<&mut String>,
    ) -> Result<(), ExpandProblem> {
        let mut message = String::new();
        if !self.expand_until(Some('}'), &mut Some(&mut message))? {
            return Err(ExpandProblem::new(
                start,
                format!("{} has no '}}'", quote_word(&format!("${{{name}"))),
            )
            .hint(KEEP_DOLLAR));
        }
        match value {
            Some(value) => push(out, value),
            // A default that is not used may be missing.
            None if out.is_none() => {}
            None if message.is_empty() => {
                return Err(ExpandProblem::new(start, format!("{} is not set", quote_word(name))));
            }
            None => {
                let message: String = message.chars().take(200).collect();
                return Err(ExpandProblem::new(start, format!("{} is not set: {message}", quote_word(name))));
            }
        }
        Ok(())
    }

    fn read_name(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn find_value(&self, name: &str) -> Option<&'a str> {
        self.earlier.get(name).or_else(|| self.platform.get(name)).map(String::as_str)
    }

    fn value_or_empty(&mut self, start: usize, name: &'a str, out: &mut Option<&mut String>) -> &'a str {
        let value = self.find_value(name);
        if value.is_none() {
            let (when, hint) = if PLATFORM.contains(&name) {
                ("set only when the app runs", "set it in the environment to see its value")
            } else {
                ("not set", KEEP_DOLLAR)
            };
            self.warn(out, start, &format!("{} is {when}: it is empty here", quote_word(name)), Some(hint));
        }
        value.unwrap_or_default()
    }

    fn warn(&mut self, out: &Option<&mut String>, at: usize, message: &str, hint: Option<&str>) {
        // More are not shown.
        if out.is_some() && self.warnings.len() < 32 {
            self.warnings.push(ExpandProblem {
                at,
                message: message.to_owned(),
                hint: hint.map(str::to_owned),
            });
        }
    }
}

fn push(out: &mut Option<&mut String>, text: &str) {
    if let Some(out) = out {
        out.push_str(text);
    }
}
