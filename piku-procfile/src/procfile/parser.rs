//! From a Procfile's bytes to its entries, or to everything that is wrong with them.

use std::collections::{BTreeMap, HashMap};

use piku_layout::name::{MAX_LEN, ProcessName};
use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics, word};

use super::{ParseOptions, ProcessKind, Procfile, ProcfileEntry};
use crate::schedule;

/// The blanks; a no-break space is none.
const BLANKS: [char; 2] = [' ', '\t'];

/// A first word that makes a line without a colon a process type: what people call theirs.
const USUAL_NAMES: [&str; 13] = [
    "web",
    "wsgi",
    "worker",
    "release",
    "preflight",
    "static",
    "cron",
    "clock",
    "scheduler",
    "beat",
    "celery",
    "sidekiq",
    "bot",
];

/// Nobody writes as many; a generated file must not fill a small machine's memory.
const MAX_ENTRIES: usize = 1000;

/// Whether `--piku-compat` makes a warning of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CompatRule {
    Warns,
    Refuses,
}

/// The state of one run over the lines.
struct ProcfileParser<'a> {
    file: &'a str,
    options: ParseOptions,
    /// By their lines.
    entries: BTreeMap<usize, ProcfileEntry>,
    /// The line of each name.
    lines: HashMap<ProcessName, usize>,
    errors: DiagnosticCollector,
    warnings: DiagnosticCollector,
    /// The line before ended in a backslash, which is said already.
    continued: bool,
}

/// Parses `text`, which diagnostics call `file`.
pub(super) fn parse(text: &[u8], file: &str, options: ParseOptions) -> Result<Procfile, Diagnostics> {
    let mut parser = ProcfileParser {
        file,
        options,
        entries: BTreeMap::new(),
        lines: HashMap::new(),
        errors: DiagnosticCollector::default(),
        warnings: DiagnosticCollector::default(),
        continued: false,
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (at, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        parser.line(at + 1, line);
    }
    parser.finish()
}

impl ProcfileParser<'_> {
    fn finish(mut self) -> Result<Procfile, Diagnostics> {
        if self.entries.is_empty() && self.errors.is_empty() {
            self.errors.push(|| {
                Diagnostic::error(self.file, 1, "no process types")
                    .hint("add a line for each, such as 'web: gunicorn app:app'")
            });
        }
        if self.errors.is_empty() {
            let entries = self.entries.into_values().collect();
            Ok(Procfile { entries, warnings: self.warnings.finish() })
        } else {
            Err(Diagnostics(self.errors.finish()))
        }
    }

    /// One line, without its end.
    fn line(&mut self, number: usize, line: &[u8]) {
        let continued = std::mem::take(&mut self.continued);
        let line = match std::str::from_utf8(line) {
            Ok(line) => line,
            Err(err) => return self.not_utf8(number, line, err.valid_up_to()),
        };
        let shown = line.trim_matches(BLANKS);
        if shown.is_empty() || shown.starts_with('#') {
            return;
        }
        if is_conflict_marker(line) {
            return self.refuse(CompatRule::Refuses, |file| {
                Diagnostic::error(file, number, "a merge conflict is left here")
                    .quote(line)
                    .hint("keep one of the two versions and remove the markers")
            });
        }
        if let Some((at, c)) = line.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
            return self.refuse(CompatRule::Refuses, |file| control_character(file, number, line, at, c));
        }
        let colon = line.find(':').filter(|_| !shown.starts_with("//"));
        let name = colon.map(|colon| line[..colon].trim_matches(BLANKS));
        if continued && name.is_none_or(|name| name.parse::<ProcessName>().is_err()) {
            // The rest of the command that has been refused already.
            self.continued = ends_in_backslash(shown);
            return;
        }
        match (colon, name) {
            (Some(colon), Some(name)) => self.entry(number, line, colon, name),
            _ => self.refuse(CompatRule::Warns, |file| garbage(file, number, line, shown)),
        }
    }

    /// A line with a colon.
    fn entry(&mut self, number: usize, line: &str, colon: usize, given: &str) {
        let Ok(name) = given.parse::<ProcessName>() else {
            return self.refuse(CompatRule::Warns, |file| bad_name(file, number, line, given));
        };
        if self.options.strict && !is_dns_label(given) {
            return self.refuse(CompatRule::Refuses, |file| {
                Diagnostic::error(file, number, format!("{} is not a DNS label", word(given)))
                    .quote(line)
                    .hint("--strict takes a-z, 0-9 and '-' only")
            });
        }
        let command = line[colon + 1..].trim_matches(BLANKS);
        let kind = ProcessKind::of(&name, command);
        let (schedule, command) = if kind == ProcessKind::Cron {
            let start = line.len() - line[colon + 1..].trim_start_matches(BLANKS).len();
            match schedule::split(command) {
                Ok((schedule, command)) => (Some(schedule), command),
                Err(bad) => {
                    return self.refuse(CompatRule::Refuses, |file| {
                        Diagnostic::error(file, number, bad.message)
                            .quote_at(line, start + bad.at)
                            .hint("a cron is five fields and a command: 'cron: 0 5 * * * ./backup'")
                    });
                }
            }
        } else {
            (None, command)
        };
        if command.is_empty() {
            return self.refuse(CompatRule::Refuses, |file| {
                let what = if schedule.is_some() { "after its schedule" } else { "after the colon" };
                Diagnostic::error(file, number, format!("{} has no command {what}", word(given)))
                    .quote_at(line, line.trim_end_matches(BLANKS).len())
            });
        }
        if ends_in_backslash(command) {
            self.continued = true;
            return self.refuse(CompatRule::Refuses, |file| {
                Diagnostic::error(file, number, "a command is one line; it cannot go on in the next")
                    .quote_at(line, line.trim_end_matches(BLANKS).len() - 1)
                    .hint("write it on one line, or put it into a script and start that")
            });
        }
        if let Some(&first) = self.lines.get(&name) {
            self.refuse(CompatRule::Warns, |file| {
                Diagnostic::error(file, number, format!("{} is already on line {first}", word(given)))
                    .quote(line)
            });
            if !self.options.piku_compat {
                return;
            }
            self.entries.remove(&first);
        } else if self.lines.len() == MAX_ENTRIES {
            return self.refuse(CompatRule::Refuses, |file| {
                Diagnostic::error(file, number, format!("more than {MAX_ENTRIES} process types")).quote(line)
            });
        }
        self.look_at(number, line, colon, &name, kind);
        self.lines.insert(name.clone(), number);
        self.entries.insert(
            number,
            ProcfileEntry { name, command: command.to_owned(), schedule, line: number, kind },
        );
    }

    /// What is taken, and probably not meant.
    fn look_at(&mut self, number: usize, line: &str, colon: usize, name: &ProcessName, kind: ProcessKind) {
        let mut warn = |message: String, at: usize| {
            let file = self.file;
            self.warnings.push(|| Diagnostic::error(file, number, message).quote_at(line, at).warning());
        };
        if line.starts_with(BLANKS) {
            warn("blanks before the name".to_owned(), 0);
        }
        if line[..colon].ends_with(BLANKS) {
            warn("blanks before the colon".to_owned(), line[..colon].trim_end_matches(BLANKS).len());
        }
        if kind == ProcessKind::Worker && schedule::is_cron(name.as_str()) {
            let start = line.len() - line[colon + 1..].trim_start_matches(BLANKS).len();
            warn(format!("{} has no schedule: it runs as a plain worker", word(name.as_str())), start);
        }
    }

    fn not_utf8(&mut self, number: usize, line: &[u8], at: usize) {
        self.refuse(CompatRule::Refuses, |file| {
            Diagnostic::error(file, number, "this is not UTF-8")
                .quote_at(&String::from_utf8_lossy(line), at)
                .hint("save the file as UTF-8")
        });
    }

    /// An error, or with `--piku-compat` a warning where the Python piku takes the file.
    fn refuse(&mut self, compat: CompatRule, make: impl FnOnce(&str) -> Diagnostic) {
        if compat == CompatRule::Warns && self.options.piku_compat {
            self.warnings.push(|| make(self.file).warning());
        } else {
            self.errors.push(|| make(self.file));
        }
    }
}

/// git's: seven of the same at the start of a line, then a blank or nothing.
fn is_conflict_marker(line: &str) -> bool {
    ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|marker| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(BLANKS))
    })
}

/// A backslash that is not itself behind a backslash.
fn ends_in_backslash(command: &str) -> bool {
    command.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn is_dns_label(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn control_character(file: &str, number: usize, line: &str, at: usize, c: char) -> Diagnostic {
    let what = match c {
        '\0' => "a NUL byte".to_owned(),
        '\r' => "a control character, a carriage return,".to_owned(),
        c => format!("a control character (U+{:04X})", u32::from(c)),
    };
    let found = Diagnostic::error(file, number, format!("{what} inside the line")).quote_at(line, at);
    if c == '\r' { found.hint("save the file with Unix line ends") } else { found }
}

fn garbage(file: &str, number: usize, line: &str, shown: &str) -> Diagnostic {
    let first = shown.split(BLANKS).next().unwrap_or_default();
    let found = Diagnostic::error(file, number, "this is not 'name: command'").quote(line);
    if shown.starts_with("//") {
        found.hint("a comment begins with '#'")
    } else if USUAL_NAMES.contains(&first) && first != shown {
        found.hint(format!("the colon is missing: write '{first}: …'"))
    } else {
        found.hint("a line is a name, a colon and a command; a comment begins with '#'")
    }
}

fn bad_name(file: &str, number: usize, line: &str, given: &str) -> Diagnostic {
    let indent = line.len() - line.trim_start_matches(BLANKS).len();
    let rule = "a name is 1 to 63 of A-Z, a-z, 0-9, '-' and '_', with a letter or digit at either end";
    if given.is_empty() {
        return Diagnostic::error(file, number, "no name before the colon").quote_at(line, indent).hint(rule);
    }
    let instance = given.rsplit_once('.').is_some_and(|(name, number)| {
        name.parse::<ProcessName>().is_ok()
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    });
    let first = given.split(BLANKS).next().unwrap_or_default();
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let at = match given.find(|c| !inner(c)) {
        Some(at) => at,
        None if given.len() > MAX_LEN => MAX_LEN,
        None if !given.starts_with(|c: char| c.is_ascii_alphanumeric()) => 0,
        None => given.len() - 1,
    };
    let message = if instance {
        format!("bad name {}: it clashes with the names of instances", word(given))
    } else {
        format!("bad name {}", word(given))
    };
    let found = Diagnostic::error(file, number, message).quote_at(line, indent + at);
    if first != given && USUAL_NAMES.contains(&first) {
        found.hint(format!("the colon is missing: write '{first}: …'"))
    } else {
        found.hint(rule)
    }
}
