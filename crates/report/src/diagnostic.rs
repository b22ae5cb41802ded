//! Diagnostics of a file, in the form of a compiler: the place, the message, the line with a caret, and a
//! hint. All bad lines are reported at once, up to a limit.

use std::borrow::Cow;
use std::fmt;

use crate::terminal::is_layout_mark;

/// Number of diagnostics that are shown per file; the rest are counted.
const MAX_SHOWN: usize = 20;
/// Number of characters of a quoted line that are shown.
const WIDTH: usize = 76;
/// Number of characters of a word that a message repeats.
const WORD: usize = 40;

/// Severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiagnosticSeverity {
    /// The file is rejected.
    Error,
    /// The file is accepted, but the line is probably a mistake.
    Warning,
}

/// An error or a warning about a place in a file.
///
/// Displayed as `Procfile:7:5: message`, without a column if it is about the whole line, then the line, a
/// caret and `hint: …` on separate lines, without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Decides if the file is rejected.
    pub severity: DiagnosticSeverity,
    /// File name without its directory, because a deploy checks files in a temporary directory.
    pub file: String,
    /// Line, from 1; 0 if the source has no lines, such as a stored setting.
    pub line: usize,
    /// Character in the line, from 1; `None` for the whole line.
    pub column: Option<usize>,
    /// Lower case, no full stop.
    pub message: String,
    /// Part of the line that is shown below.
    pub quote: Option<QuotedLine>,
    /// Advice on how to correct it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Creates an error about a whole line.
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

    /// Turns the error into a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = DiagnosticSeverity::Warning;
        self
    }

    /// Shows the line below the message.
    #[must_use]
    pub fn quote(mut self, line: &str) -> Self {
        self.quote = Some(QuotedLine::of(line, None));
        self
    }

    /// Shows the line below the message, with a caret at its byte `at`.
    #[must_use]
    pub fn quote_at(mut self, line: &str, at: usize) -> Self {
        self.quote = Some(QuotedLine::of(line, Some(at)));
        self.column = Some(column(line, at));
        self
    }

    /// Sets the line that follows `hint:`.
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

/// Part of a line, safe for a terminal: each character takes one column and none moves the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotedLine {
    /// At most about 80 characters.
    pub text: String,
    /// Number of characters before the caret.
    pub caret: Option<usize>,
}

impl QuotedLine {
    /// Takes the part of `line` around its byte `at`, or its beginning.
    fn of(line: &str, at: Option<usize>) -> Self {
        let point = at.unwrap_or(0).min(line.len());
        let end = line[point..].char_indices().nth(WIDTH).map_or(line.len(), |(at, _)| point + at);
        // If little text follows, more of the beginning fits.
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

/// Replaces control characters, with which a file name or a value could move the terminal's cursor or set
/// its title.
#[must_use]
pub fn readable(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { c } else { visible(c) }).collect()
}

/// Returns the character, or a replacement if it does not fill exactly one column.
fn visible(c: char) -> char {
    match c {
        '\t' | '\n' => ' ',
        '\u{feff}' => '\u{fffd}',
        c if c.is_control() || is_layout_mark(c) => '\u{fffd}',
        c => c,
    }
}

/// Returns the number of the character at byte `at`, from 1.
#[must_use]
pub fn column(line: &str, at: usize) -> usize {
    line[..at.min(line.len())].chars().count() + 1
}

/// Quotes a word of a file for a message: shortened, without control characters.
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

/// All diagnostics of a rejected file, in the order of its lines; never empty.
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

/// Collects the diagnostics of a file. Beyond the limit it only counts them.
#[derive(Debug, Default)]
pub struct DiagnosticCollector {
    kept: Vec<Diagnostic>,
    more: usize,
}

impl DiagnosticCollector {
    /// Adds a diagnostic. `make` is only called if it will be shown.
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

    /// Returns the diagnostics in the order of their lines; the last one counts those that are not shown.
    #[must_use]
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|diagnostic| diagnostic.line);
        // One more than the limit is kept: its line is the place of the count.
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
