//! What is wrong with a file, said the way a compiler says it: the place first, the line with a caret below it, and what to
//! do about it. All bad lines at once, and never more text than somebody reads.

use std::borrow::Cow;
use std::fmt;

/// How many errors of one file are told; the rest is counted.
const MAX_SHOWN: usize = 20;
/// How much of a quoted line is shown, in characters.
const WIDTH: usize = 76;
/// How much of a name or word is repeated inside a message, in characters.
const WORD: usize = 40;

/// Whether the file is refused for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiagnosticSeverity {
    /// The file is not taken.
    Error,
    /// The file is taken; its author should look at the line.
    Warning,
}

/// One thing that is wrong, and where.
///
/// Displayed as `Procfile:7:5: message`, without a column where the whole line is meant, then the line, a caret and
/// `hint: …`, each on a line of its own; no newline at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: DiagnosticSeverity,
    /// The file's name without its folder: a deploy checks files in a folder that is gone afterwards.
    pub file: String,
    /// The line, from 1; 0 where what is meant has no lines, such as a setting kept on the server.
    pub line: usize,
    /// The character in the line, from 1; none where the whole line is meant.
    pub column: Option<usize>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The part of the line to show below.
    pub quote: Option<QuotedLine>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error about a whole line.
    pub fn error(file: &str, line: usize, message: impl Into<String>) -> Self {
        let file = file.chars().map(visible).collect();
        // A message may hold the file's own words: ${NAME:?message}.
        let message = message.into().chars().map(visible).collect();
        Self {
            severity: DiagnosticSeverity::Error,
            file,
            line,
            column: None,
            message,
            quote: None,
            hint: None,
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = DiagnosticSeverity::Warning;
        self
    }

    /// Shows the line.
    #[must_use]
    pub fn quote(mut self, line: &str) -> Self {
        self.quote = Some(QuotedLine::of(line, None));
        self
    }

    /// Shows the line and points at its byte `at`.
    #[must_use]
    pub fn quote_at(mut self, line: &str, at: usize) -> Self {
        self.quote = Some(QuotedLine::of(line, Some(at)));
        self.column = Some(column(line, at));
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if let Some(column) = self.column {
            write!(f, "{column}:")?;
        }
        if self.severity == DiagnosticSeverity::Warning {
            f.write_str(" warning:")?;
        }
        write!(f, " {}", self.message)?;
        if let Some(quote) = &self.quote {
            write!(f, "\n    {}", quote.text)?;
            if let Some(caret) = quote.caret {
                write!(f, "\n    {:caret$}^", "")?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// A readable part of a line: one character a column, nothing in it that moves a terminal's cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotedLine {
    /// The text, at most some 80 characters.
    pub text: String,
    /// How many characters stand before the caret.
    pub caret: Option<usize>,
}

impl QuotedLine {
    /// The part of `line` around its byte `at`, or its beginning.
    fn of(line: &str, at: Option<usize>) -> Self {
        let point = at.unwrap_or(0).min(line.len());
        let end = line[point..].char_indices().nth(WIDTH).map_or(line.len(), |(at, _)| point + at);
        // What follows needs no room that the beginning of the line can have.
        let before = WIDTH.saturating_sub(line[point..end].chars().count()).max(WIDTH / 2);
        let start = line[..point].char_indices().rev().take(before).last().map_or(point, |(at, _)| at);
        let mut text = String::from(if start > 0 { "…" } else { "" });
        text.extend(line[start..end].chars().take(WIDTH).map(visible));
        if line[start..end].chars().count() > WIDTH || end < line.len() {
            text.push('…');
        }
        let caret = at.map(|_| usize::from(start > 0) + line[start..point].chars().count());
        Self { text, caret }
    }
}

/// A text as it may reach a terminal: a file's name or a value of ENV may hold what moves its cursor or sets its title.
#[must_use]
pub fn readable(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { c } else { visible(c) }).collect()
}

/// The character itself, or what stands for it where it would not fill exactly one column.
fn visible(c: char) -> char {
    match c {
        '\t' | '\n' => ' ',
        // Text direction marks: a line is shown in the order in which it is run.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// The number of the character at byte `at`, from 1.
#[must_use]
pub fn column(line: &str, at: usize) -> usize {
    line[..at.min(line.len())].chars().count() + 1
}

/// A word of the file as a message repeats it: between quotes, shortened, readable.
pub fn quote_word(text: &str) -> String {
    let shown: String = shorten_text(text, WORD).chars().map(visible).collect();
    format!("'{shown}'")
}

/// Returns the text; of a longer one its first `most` characters and an ellipsis.
#[must_use]
pub fn shorten_text(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Everything that is wrong with a file, in the order of its lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Collects diagnostics while a file is read, and only counts them once there are more than anybody reads.
#[derive(Debug, Default)]
pub struct DiagnosticCollector {
    kept: Vec<Diagnostic>,
    more: usize,
}

impl DiagnosticCollector {
    /// Takes one more; `make` is called only when it will be shown.
    pub fn push(&mut self, make: impl FnOnce() -> Diagnostic) {
        if self.kept.len() <= MAX_SHOWN {
            self.kept.push(make());
        } else {
            self.more += 1;
        }
    }

    /// Returns true if nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// In the order of the lines, with the number of those left out at the end.
    #[must_use]
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|diagnostic| diagnostic.line);
        // One too many is kept, so that the first one left out gives the last line its place.
        if self.kept.len() > MAX_SHOWN {
            if let Some(rest) = self.kept.last_mut() {
                let what = if rest.severity == DiagnosticSeverity::Warning { "warnings" } else { "errors" };
                rest.message = format!("and {} more {what} from here on", self.more + 1);
                (rest.column, rest.quote, rest.hint) = (None, None, None);
            }
        }
        self.kept
    }
}
