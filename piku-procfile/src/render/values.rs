//! What an app has set, each value with the place where it stands, so that a bad one is told as `ENV:3: …`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use indexmap::IndexMap;
use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics, word};

use crate::env::EnvFile;

/// The variables of an app.
#[derive(Debug, Clone, Default)]
pub struct AppValues(IndexMap<String, SettingValue>);

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct SettingValue {
    pub(crate) text: String,
    /// The file's name, or what else it comes from.
    origin: String,
    /// 0 where the origin has no lines.
    line: usize,
}

impl AppValues {
    /// The variables of a file that diagnostics call `file`.
    #[must_use]
    pub fn of(env: &EnvFile, file: &str) -> Self {
        let value = |(name, text): (&String, &String)| {
            let line = env.lines.get(name).copied().unwrap_or(0);
            (name.clone(), SettingValue { text: text.clone(), origin: file.to_owned(), line })
        };
        Self(env.vars.iter().map(value).collect())
    }

    /// Sets a variable that wins over the file's, such as one that the operator keeps on the server.
    pub fn set(&mut self, name: &str, value: &str, origin: &str) {
        let value = SettingValue { text: value.to_owned(), origin: origin.to_owned(), line: 0 };
        self.0.insert(name.to_owned(), value);
    }

    /// Whether it is set, to anything.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !value.text.trim().is_empty())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SettingValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&SettingValue> {
        self.0.get(name)
    }
}

impl SettingValue {
    /// Something that is wrong with it.
    pub(crate) fn error(&self, name: &str, message: impl Display) -> Diagnostic {
        Diagnostic::error(&self.origin, self.line, format!("{name}: {message}"))
    }
}

/// Reads variables, and remembers all that is wrong with them.
pub(crate) struct ValuesReader<'a> {
    values: &'a AppValues,
    errors: DiagnosticCollector,
    warnings: DiagnosticCollector,
}

impl<'a> ValuesReader<'a> {
    pub(crate) fn new(values: &'a AppValues) -> Self {
        Self { values, errors: DiagnosticCollector::default(), warnings: DiagnosticCollector::default() }
    }

    /// The text, when there is some.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).map(|value| value.text.trim()).filter(|text| !text.is_empty())
    }

    /// The items between commas or blanks.
    pub(crate) fn items(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let text = self.text(name).unwrap_or_default();
        text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty())
    }

    /// Yes or no, in the words that the Python piku knows.
    pub(crate) fn boolean(&mut self, name: &str) -> bool {
        match self.text(name).unwrap_or_default().to_ascii_lowercase().as_str() {
            "1" | "on" | "true" | "enabled" | "yes" | "y" => true,
            "" | "0" | "off" | "false" | "disabled" | "no" | "n" => false,
            other => {
                self.refuse(name, format!("{} is neither 'true' nor 'false'", word(other)), None);
                false
            }
        }
    }

    /// A whole number of `unit`.
    pub(crate) fn number(&mut self, name: &str, default: u32, range: RangeInclusive<u32>, unit: &str) -> u32 {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = range.into_inner();
                let what = format!("{} is no whole number of {unit} from {low} to {high}", word(text));
                self.refuse(name, what, None);
                default
            }
        }
    }

    /// Each item as what it is to be; those that are not are refused.
    pub(crate) fn parsed<T: FromStr<Err = String>>(&mut self, name: &str, hint: Option<&str>) -> Vec<T> {
        let mut good = Vec::new();
        for item in self.items(name) {
            match item.parse() {
                Ok(item) => good.push(item),
                Err(message) => self.refuse(name, message, hint),
            }
        }
        good
    }

    /// Remembers that the variable is no good.
    pub(crate) fn refuse(&mut self, name: &str, message: impl Display, hint: Option<&str>) {
        let found = self.about(name, message, hint);
        self.errors.push(|| found);
    }

    /// Remembers what its author should look at.
    pub(crate) fn warn(&mut self, name: &str, message: impl Display, hint: Option<&str>) {
        let found = self.about(name, message, hint).warning();
        self.warnings.push(|| found);
    }

    /// Remembers what is wrong elsewhere, such as in a file that a variable names.
    pub(crate) fn push(&mut self, found: Diagnostic) {
        self.errors.push(|| found);
    }

    fn about(&self, name: &str, message: impl Display, hint: Option<&str>) -> Diagnostic {
        let found = match self.values.get(name) {
            Some(value) => value.error(name, message),
            None => Diagnostic::error(crate::env::FILE, 0, format!("{name}: {message}")),
        };
        match hint {
            Some(hint) => found.hint(hint),
            None => found,
        }
    }

    /// The warnings, unless there are errors.
    pub(crate) fn finish(self) -> Result<Vec<Diagnostic>, Diagnostics> {
        if self.errors.is_empty() {
            Ok(self.warnings.finish())
        } else {
            Err(Diagnostics(self.errors.finish()))
        }
    }
}
