//! Parses a Procfile into entries, or into diagnostics for all bad lines.

use std::collections::{BTreeMap, HashMap};

use piku_layout::name::{MAX_LEN, ProcessName};
use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics, quote_word};

use super::static_entry::StaticEntry;
use super::{ParseOptions, ProcessKind, Procfile, ProcfileEntry, unserved};
use crate::layout_marks::{find_layout_mark, layout_mark};
use crate::schedule;

/// Other white space, such as a no-break space, is part of a command.
const BLANKS: [char; 2] = [' ', '\t'];

/// Common process types. On a line that begins with one, the colon is probably missing.
const COMMON_NAMES: [&str; 13] = [
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

/// Protects the memory of small machines from a generated file.
const MAX_ENTRIES: usize = 1000;

/// Effect of `--piku-compat` on an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CompatRule {
    BecomesWarning,
    StaysError,
}

struct ProcfileParser<'a> {
    file: &'a str,
    options: ParseOptions,
    /// Keyed by line.
    entries: BTreeMap<usize, ProcfileEntry>,
    /// Line of each name.
    lines: HashMap<ProcessName, usize>,
    errors: DiagnosticCollector,
    warnings: DiagnosticCollector,
    /// The previous line ended in a backslash, which has been reported.
    continued: bool,
}

/// Parses `text`, which diagnostics call `file`.
pub(super) fn parse_procfile(
    text: &[u8],
    file: &str,
    options: ParseOptions,
) -> Result<Procfile, Diagnostics> {
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
        parser.parse_line(at + 1, line);
    }
    parser.finish()
}

impl ProcfileParser<'_> {
    fn finish(mut self) -> Result<Procfile, Diagnostics> {
        if self.entries.is_empty() && self.errors.is_empty() {
            self.errors.push(|| {
                Diagnostic::error(self.file, 1, "no process types")
                    .hint("add a line per process type, such as 'web: gunicorn app:app'")
            });
        }
        self.warn_of_unserved();
        if self.errors.is_empty() {
            let entries = self.entries.into_values().collect();
            Ok(Procfile { entries, warnings: self.warnings.finish() })
        } else {
            Err(Diagnostics(self.errors.finish()))
        }
    }

    /// Parses a line without its line end.
    fn parse_line(&mut self, number: usize, line: &[u8]) {
        let continued = std::mem::take(&mut self.continued);
        let line = match std::str::from_utf8(line) {
            Ok(line) => line,
            Err(err) => return self.add_utf8_error(number, line, err.valid_up_to()),
        };
        let shown = line.trim_matches(BLANKS);
        if shown.is_empty() || shown.starts_with('#') {
            return;
        }
        if is_conflict_marker(line) {
            return self.add_error(CompatRule::StaysError, |file| {
                Diagnostic::error(file, number, "unresolved merge conflict")
                    .quote(line)
                    .hint("keep one of the two versions and remove the markers")
            });
        }
        if let Some((at, c)) = line.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
            return self
                .add_error(CompatRule::StaysError, |file| control_character(file, number, line, at, c));
        }
        let colon = line.find(':').filter(|_| !shown.starts_with("//"));
        let name = colon.map(|colon| line[..colon].trim_matches(BLANKS));
        if continued && name.is_none_or(|name| name.parse::<ProcessName>().is_err()) {
            // The rest of a command that has been reported.
            self.continued = ends_in_backslash(shown);
            return;
        }
        match (colon, name) {
            (Some(colon), Some(name)) => self.parse_entry(number, line, colon, name),
            _ => self.add_error(CompatRule::BecomesWarning, |file| malformed_line(file, number, line, shown)),
        }
    }

    fn parse_entry(&mut self, number: usize, line: &str, colon: usize, given: &str) {
        let Ok(name) = given.parse::<ProcessName>() else {
            return self.add_error(CompatRule::BecomesWarning, |file| bad_name(file, number, line, given));
        };
        if self.options.strict && !is_dns_label(given) {
            return self.add_error(CompatRule::StaysError, |file| {
                Diagnostic::error(file, number, format!("{} is not a DNS label", quote_word(given)))
                    .quote(line)
                    .hint("--strict allows only a-z, 0-9 and '-'")
            });
        }
        let command = line[colon + 1..].trim_matches(BLANKS);
        let kind = ProcessKind::classify(&name, command);
        let (schedule, command) = if kind == ProcessKind::Cron {
            let start = line.len() - line[colon + 1..].trim_start_matches(BLANKS).len();
            match schedule::split_schedule(command) {
                Ok((schedule, command)) => (Some(schedule), command),
                Err(bad) => {
                    return self.add_error(CompatRule::StaysError, |file| {
                        Diagnostic::error(file, number, bad.message)
                            .quote_at(line, start + bad.at)
                            .hint("a cron job has five fields and a command: 'cron: 0 5 * * * ./backup'")
                    });
                }
            }
        } else {
            (None, command)
        };
        if command.is_empty() {
            return self.add_error(CompatRule::StaysError, |file| {
                let what = if schedule.is_some() { "after its schedule" } else { "after the colon" };
                Diagnostic::error(file, number, format!("{} has no command {what}", quote_word(given)))
                    .quote_at(line, line.trim_end_matches(BLANKS).len())
            });
        }
        if let Some(foreign) = unserved::foreign_type(name.as_str(), command) {
            return self.add_error(CompatRule::BecomesWarning, |file| {
                Diagnostic::error(file, number, foreign.message).quote(line).hint(foreign.hint)
            });
        }
        if let Some(Err(why)) = (kind == ProcessKind::Static).then(|| StaticEntry::split(command).check()) {
            return self.add_error(CompatRule::BecomesWarning, |file| {
                Diagnostic::error(file, number, format!("static: {why}")).quote(line)
            });
        }
        if ends_in_backslash(command) {
            self.continued = true;
            return self.add_error(CompatRule::StaysError, |file| {
                Diagnostic::error(file, number, "a command cannot continue on the next line")
                    .quote_at(line, line.trim_end_matches(BLANKS).len() - 1)
                    .hint("write it on one line, or put it into a script and run the script")
            });
        }
        if let Some(&first) = self.lines.get(&name) {
            self.add_error(CompatRule::BecomesWarning, |file| {
                Diagnostic::error(file, number, format!("{} is already on line {first}", quote_word(given)))
                    .quote(line)
            });
            if !self.options.piku_compat {
                return;
            }
            self.entries.remove(&first);
        } else if self.lines.len() == MAX_ENTRIES {
            return self.add_error(CompatRule::StaysError, |file| {
                Diagnostic::error(file, number, format!("more than {MAX_ENTRIES} process types")).quote(line)
            });
        }
        self.add_warnings(number, line, colon, &name, kind);
        self.lines.insert(name.clone(), number);
        self.entries.insert(
            number,
            ProcfileEntry { name, command: command.to_owned(), schedule, line: number, kind },
        );
    }

    /// Warns of workers that were probably meant to be `web`, if no type gets requests.
    fn warn_of_unserved(&mut self) {
        let is_served = |entry: &ProcfileEntry| entry.kind.has_port() || entry.kind == ProcessKind::Static;
        if self.entries.values().any(is_served) {
            return;
        }
        for entry in self.entries.values() {
            let Some(message) = unserved::unserved_worker(entry) else { continue };
            let (file, shown) = (self.file, entry.to_string());
            self.warnings.push(|| {
                let hint = format!("write 'web: {}' if it is to answer requests", entry.command);
                Diagnostic::error(file, entry.line, message).quote(&shown).warning().hint(hint)
            });
        }
    }

    /// Warns of what is valid but probably a mistake.
    fn add_warnings(
        &mut self,
        number: usize,
        line: &str,
        colon: usize,
        name: &ProcessName,
        kind: ProcessKind,
    ) {
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
        let start = line.len() - line[colon + 1..].trim_start_matches(BLANKS).len();
        if let Some((at, c)) = find_layout_mark(line) {
            warn(layout_mark(c), at);
        }
        if kind == ProcessKind::Static {
            let entry = StaticEntry::split(line[start..].trim_end_matches(BLANKS));
            if let Some(message) = entry.warning() {
                warn(message, start);
            }
        }
        if kind == ProcessKind::Worker && schedule::is_cron_name(name.as_str()) {
            warn(format!("{} has no schedule: it runs as a plain worker", quote_word(name.as_str())), start);
        }
    }

    fn add_utf8_error(&mut self, number: usize, line: &[u8], at: usize) {
        self.add_error(CompatRule::StaysError, |file| {
            Diagnostic::error(file, number, "this is not UTF-8")
                .quote_at(&String::from_utf8_lossy(line), at)
                .hint("save the file as UTF-8")
        });
    }

    /// Adds an error, or with `--piku-compat` a warning if the Python piku accepts the line.
    fn add_error(&mut self, compat: CompatRule, make: impl FnOnce(&str) -> Diagnostic) {
        if compat == CompatRule::BecomesWarning && self.options.piku_compat {
            self.warnings.push(|| make(self.file).warning());
        } else {
            self.errors.push(|| make(self.file));
        }
    }
}

/// Returns true for git's markers: seven equal characters at the start of a line, then a blank or nothing.
fn is_conflict_marker(line: &str) -> bool {
    ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|marker| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(BLANKS))
    })
}

/// Returns true if the last backslash is not itself escaped.
fn ends_in_backslash(command: &str) -> bool {
    command.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn is_dns_label(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn control_character(file: &str, number: usize, line: &str, at: usize, c: char) -> Diagnostic {
    let what = match c {
        '\0' => "a NUL byte".to_owned(),
        '\r' => "a carriage return".to_owned(),
        c => format!("a control character (U+{:04X})", u32::from(c)),
    };
    let found = Diagnostic::error(file, number, format!("{what} inside the line")).quote_at(line, at);
    if c == '\r' { found.hint("save the file with Unix line ends") } else { found }
}

fn malformed_line(file: &str, number: usize, line: &str, shown: &str) -> Diagnostic {
    let first = shown.split(BLANKS).next().unwrap_or_default();
    let found = Diagnostic::error(file, number, "this is not 'name: command'").quote(line);
    if shown.starts_with("//") {
        found.hint("a comment begins with '#'")
    } else if COMMON_NAMES.contains(&first) && first != shown {
        found.hint(format!("the colon is missing: write '{first}: …'"))
    } else {
        found.hint("a line is a name, a colon and a command; a comment begins with '#'")
    }
}

fn bad_name(file: &str, number: usize, line: &str, given: &str) -> Diagnostic {
    let indent = line.len() - line.trim_start_matches(BLANKS).len();
    let rule = "a name has 1 to 63 of A-Z, a-z, 0-9, '-' and '_', and begins and ends with a letter or digit";
    if given.is_empty() {
        return Diagnostic::error(file, number, "no name before the colon").quote_at(line, indent).hint(rule);
    }
    let is_instance = given.rsplit_once('.').is_some_and(|(name, number)| {
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
    let message = if is_instance {
        format!("bad name {}: it looks like the name of an instance", quote_word(given))
    } else {
        format!("bad name {}", quote_word(given))
    };
    let found = Diagnostic::error(file, number, message).quote_at(line, indent + at);
    if first != given && COMMON_NAMES.contains(&first) {
        found.hint(format!("the colon is missing: write '{first}: …'"))
    } else {
        found.hint(rule)
    }
}
