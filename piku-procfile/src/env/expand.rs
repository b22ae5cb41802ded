//! One value: its escapes undone, its `$NAME` and `${NAME:-default}` filled in. One pass over the text; nothing is run.

use indexmap::IndexMap;
use piku_report::diagnostic::word;

use super::PLATFORM;

/// How deep `${A:-${B:-…}}` may go.
const MAX_DEPTH: usize = 32;
/// Linux takes no longer string in a program's environment, name, `=` and NUL included (`MAX_ARG_STRLEN`, with 4 kB pages).
pub(super) const MAX_STRING: usize = 128 << 10;

/// How a value's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpandMode {
    /// No quotes around it: a backslash is a backslash, but `\$` is a dollar.
    Bare,
    /// Between `"`: backslashes escape.
    Double,
    /// Between `"`, for `--piku-compat`: backslashes stay.
    Raw,
    /// Between `'`: nothing is special.
    Literal,
}

/// What is wrong inside a value, and at which byte of it.
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

/// A run over one value.
pub(super) struct ValueExpander<'a> {
    text: &'a str,
    at: usize,
    mode: ExpandMode,
    /// Line ends are CRLF, and the CR is not part of the value.
    crlf: bool,
    earlier: &'a IndexMap<String, String>,
    platform: &'a IndexMap<String, String>,
    depth: usize,
    /// What is taken, and probably not meant.
    pub(super) warnings: Vec<ExpandProblem>,
}

const COMPUTE: &str = "compute it in the app's start script";
const KEEP_DOLLAR: &str = "single quotes keep a '$' as it is";

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

    /// The value.
    pub(super) fn run(&mut self) -> Result<String, ExpandProblem> {
        let mut value = String::new();
        self.text_until(None, &mut Some(&mut value))?;
        Ok(value)
    }

    /// Reads up to `end` or to the end of the text. Without an `out` the text is only passed over.
    fn text_until(
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
                c if self.mode == ExpandMode::Literal => put(out, c.encode_utf8(&mut [0; 4])),
                '\\' => self.backslash(end, out),
                '$' => self.dollar(start, out)?,
                '`' => self.backticks(start, out),
                c => put(out, c.encode_utf8(&mut [0; 4])),
            }
            if out.as_ref().is_some_and(|out| out.len() > MAX_STRING) {
                return Err(ExpandProblem::new(
                    start,
                    "longer than the 128 KiB that Linux takes for one variable",
                ));
            }
        }
        Ok(false)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn backslash(&mut self, end: Option<char>, out: &mut Option<&mut String>) {
        let next = self.peek();
        let meant = match (self.mode, next) {
            (ExpandMode::Bare | ExpandMode::Double, Some('$')) => "$",
            (ExpandMode::Double, Some('n')) => "\n",
            (ExpandMode::Double, Some('r')) => "\r",
            (ExpandMode::Double, Some('t')) => "\t",
            (ExpandMode::Double, Some('"')) => "\"",
            (ExpandMode::Double, Some('\\')) => "\\",
            (ExpandMode::Double, Some('`')) => "`",
            // As in a shell: the line goes on.
            (ExpandMode::Double, Some('\n')) => "",
            (ExpandMode::Double, Some('\r')) if self.crlf && self.text[self.at..].starts_with("\r\n") => {
                self.at += 1;
                ""
            }
            (ExpandMode::Bare | ExpandMode::Double, Some('}')) if end.is_some() => "}",
            _ => return put(out, "\\"),
        };
        self.at += 1;
        put(out, meant);
    }

    /// After a `$` at byte `start`.
    fn dollar(&mut self, start: usize, out: &mut Option<&mut String>) -> Result<(), ExpandProblem> {
        match self.peek() {
            // Two dollars are two dollars, whatever follows: 'p@$$w0rd'.
            Some('$') => {
                self.at += 1;
                put(out, "$$");
            }
            Some('(') => self.substitution(start, out),
            Some('{') => {
                self.at += 1;
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(ExpandProblem::new(start, "'${' inside '${' too many times"));
                }
                self.braces(start, out)?;
                self.depth -= 1;
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.name();
                let value = self.value_or_empty(start, name, out);
                put(out, value);
            }
            _ => put(out, "$"),
        }
        Ok(())
    }

    /// `$(…)` up to its own end, as it stands.
    fn substitution(&mut self, start: usize, out: &mut Option<&mut String>) {
        self.warn(out, start, "'$(…)' is kept as text; nothing is run", Some(COMPUTE));
        let mut open = 0_usize;
        for (at, c) in self.text[self.at..].char_indices() {
            match c {
                '(' => open += 1,
                ')' => open -= 1,
                _ => continue,
            }
            if open == 0 {
                self.at += at + 1;
                return put(out, &self.text[start..self.at]);
            }
        }
        self.at = self.text.len();
        put(out, &self.text[start..]);
    }

    /// "`…`" as it stands; one alone is a character like any other.
    fn backticks(&mut self, start: usize, out: &mut Option<&mut String>) {
        if let Some(length) = self.text[self.at..].find('`') {
            self.warn(out, start, "'`…`' is kept as text; nothing is run", Some(COMPUTE));
            self.at += length + 1;
        }
        put(out, &self.text[start..self.at]);
    }

    /// After `${`, up to and with the `}`.
    fn braces(&mut self, start: usize, out: &mut Option<&mut String>) -> Result<(), ExpandProblem> {
        let name = self.name();
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            return Err(ExpandProblem::new(start, "no name after '${'").hint(KEEP_DOLLAR));
        }
        let unfinished = || {
            ExpandProblem::new(start, format!("{} has no '}}'", word(&format!("${{{name}"))))
                .hint(KEEP_DOLLAR)
        };
        let mut next = self.peek().ok_or_else(unfinished)?;
        self.at += next.len_utf8();
        if next == '}' {
            let value = self.value_or_empty(start, name, out);
            put(out, value);
            return Ok(());
        }
        let mut value = self.value(name);
        if next == ':' {
            // With a colon, an empty value counts as none.
            value = value.filter(|value| !value.is_empty());
            next = self.peek().ok_or_else(unfinished)?;
            self.at += next.len_utf8();
        }
        // What stands there when the word after the operator does not.
        let instead = match next {
            '-' => value,
            '+' if value.is_none() => Some(""),
            '+' => None,
            '?' => return self.required(start, name, value, out),
            _ => {
                return Err(ExpandProblem::new(
                    start,
                    format!("this form of {} is not known", word(&format!("${{{name}"))),
                ))
                .map_err(|problem| {
                    problem.hint("use ${NAME}, ${NAME:-default}, ${NAME:?message} or ${NAME:+other}")
                });
            }
        };
        let ended = match instead {
            Some(value) => {
                put(out, value);
                self.text_until(Some('}'), &mut None)?
            }
            None => self.text_until(Some('}'), out)?,
        };
        if ended { Ok(()) } else { Err(unfinished()) }
    }

    /// After `${NAME:?`.
    fn required(
        &mut self,
        start: usize,
        name: &str,
        value: Option<&str>,
        out: &mut Option<&mut String>,
    ) -> Result<(), ExpandProblem> {
        let mut message = String::new();
        if !self.text_until(Some('}'), &mut Some(&mut message))? {
            return Err(ExpandProblem::new(start, format!("{} has no '}}'", word(&format!("${{{name}"))))
                .hint(KEEP_DOLLAR));
        }
        match value {
            Some(value) => put(out, value),
            // Nothing is asked of a default that is not used.
            None if out.is_none() => {}
            None if message.is_empty() => {
                return Err(ExpandProblem::new(start, format!("{} is not set", word(name))));
            }
            None => {
                let message: String = message.chars().take(200).collect();
                return Err(ExpandProblem::new(start, format!("{} is not set: {message}", word(name))));
            }
        }
        Ok(())
    }

    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.earlier.get(name).or_else(|| self.platform.get(name)).map(String::as_str)
    }

    fn value_or_empty(&mut self, start: usize, name: &'a str, out: &mut Option<&mut String>) -> &'a str {
        let value = self.value(name);
        if value.is_none() {
            let (when, hint) = if PLATFORM.contains(&name) {
                ("set only when the app runs", "give it in the environment to see its value")
            } else {
                ("not set", KEEP_DOLLAR)
            };
            self.warn(out, start, &format!("{} is {when}: it is empty here", word(name)), Some(hint));
        }
        value.unwrap_or_default()
    }

    fn warn(&mut self, out: &Option<&mut String>, at: usize, message: &str, hint: Option<&str>) {
        // More would not be shown either.
        if out.is_some() && self.warnings.len() < 32 {
            self.warnings.push(ExpandProblem {
                at,
                message: message.to_owned(),
                hint: hint.map(str::to_owned),
            });
        }
    }
}

fn put(out: &mut Option<&mut String>, text: &str) {
    if let Some(out) = out {
        out.push_str(text);
    }
}
