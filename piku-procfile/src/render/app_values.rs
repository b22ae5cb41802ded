//! The variables of an app. Each value knows its file and line, so that an error about it reads `ENV:3: …`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use indexmap::IndexMap;
use piku_report::diagnostic::{Diagnostic, DiagnosticCollector, Diagnostics, quote_word};

use crate::env::EnvFile;

/// Seconds of a day.
const DAY: u32 = 86400;

/// Variables by name.
#[derive(Debug, Clone, Default)]
pub struct AppValues(IndexMap<String, SettingValue>);

#[derive(Debug, Clone)]
pub(crate) struct SettingValue {
    pub(crate) text: String,
    /// File name, or other source, as diagnostics show it.
    origin: String,
    /// 0 if the origin has no lines.
    line: usize,
}

impl AppValues {
    /// Takes the variables of an ENV file, which diagnostics call `file`.
    #[must_use]
    pub fn from_env(env: &EnvFile, file: &str) -> Self {
        let value = |(name, text): (&String, &String)| {
            let line = env.lines.get(name).copied().unwrap_or(0);
            (name.clone(), SettingValue { text: text.clone(), origin: file.to_owned(), line })
        };
        Self(env.vars.iter().map(value).collect())
    }

    /// Sets a variable in place of the file's, such as one stored with `config:set`.
    pub fn set(&mut self, name: &str, value: &str, origin: &str) {
        let value = SettingValue { text: value.to_owned(), origin: origin.to_owned(), line: 0 };
        self.0.insert(name.to_owned(), value);
    }

    /// Returns true if the variable is set and not blank.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !value.text.trim().is_empty())
    }

    /// Returns the value of a setting, if it is not blank.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        ValuesReader::new(self).text(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SettingValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&SettingValue> {
        self.0.get(name)
    }
}

impl SettingValue {
    /// Returns an error about this value.
    pub(crate) fn error(&self, name: &str, message: impl Display) -> Diagnostic {
        Diagnostic::error(&self.origin, self.line, format!("{name}: {message}"))
    }
}

/// Returns the items of a list separated by commas or blanks.
pub fn split_items(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty())
}

/// Parses variables and collects their errors and warnings.
pub(crate) struct ValuesReader<'a> {
    values: &'a AppValues,
    errors: DiagnosticCollector,
    warnings: DiagnosticCollector,
}

impl<'a> ValuesReader<'a> {
    pub(crate) fn new(values: &'a AppValues) -> Self {
        Self { values, errors: DiagnosticCollector::default(), warnings: DiagnosticCollector::default() }
    }

    /// Returns the trimmed value, or `None` if it is unset or blank.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).map(|value| value.text.trim()).filter(|text| !text.is_empty())
    }

    /// Returns the items of a list separated by commas or blanks.
    pub(crate) fn items(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        split_items(self.text(name).unwrap_or_default())
    }

    /// Returns the items, and adds an error if there are more than `most`.
    pub(crate) fn bounded_items(
        &mut self,
        name: &str,
        most: usize,
    ) -> impl Iterator<Item = &'a str> + use<'a> {
        if self.items(name).nth(most).is_some() {
            self.add_error(name, format!("more than {most} items"), None);
        }
        self.items(name).take(most)
    }

    /// Parses a flag, in the spellings that the Python piku accepts. An unset one is false.
    pub(crate) fn parse_bool(&mut self, name: &str) -> bool {
        match self.text(name).unwrap_or_default().to_ascii_lowercase().as_str() {
            "1" | "on" | "true" | "enabled" | "yes" | "y" => true,
            "" | "0" | "off" | "false" | "disabled" | "no" | "n" => false,
            other => {
                self.add_error(name, format!("{} is neither 'true' nor 'false'", quote_word(other)), None);
                false
            }
        }
    }

    /// Parses a whole number of `unit`.
    pub(crate) fn parse_number(
        &mut self,
        name: &str,
        default: u32,
        range: RangeInclusive<u32>,
        unit: &str,
    ) -> u32 {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = range.into_inner();
                let what =
                    format!("{} is not a whole number of {unit} from {low} to {high}", quote_word(text));
                self.add_error(name, what, None);
                default
            }
        }
    }

    /// Parses a number of seconds up to a day. A fraction is rounded up.
    pub(crate) fn parse_seconds(&mut self, name: &str, default: u32, least: u32) -> u32 {
        let Some(text) = self.text(name) else { return default };
        let time = text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
        let seconds = time.and_then(|time| u32::try_from(time.as_millis().div_ceil(1000)).ok());
        seconds.filter(|seconds| (least..=DAY).contains(seconds)).unwrap_or_else(|| {
            let what = format!("{} is not a number of seconds from {least} to {DAY}", quote_word(text));
            self.add_error(name, what, None);
            default
        })
    }

    /// Parses the items of a list. A bad item is an error.
    pub(crate) fn parse_items<T: FromStr<Err = String>>(&mut self, name: &str, hint: Option<&str>) -> Vec<T> {
        let mut good = Vec::new();
        for item in self.items(name) {
            match item.parse() {
                Ok(item) => good.push(item),
                Err(message) => self.add_error(name, message, hint),
            }
        }
        good
    }

    /// Adds an error about a variable.
    pub(crate) fn add_error(&mut self, name: &str, message: impl Display, hint: Option<&str>) {
        let found = self.diagnostic(name, message, hint);
        self.errors.push(|| found);
    }

    /// Adds a warning about a variable.
    pub(crate) fn add_warning(&mut self, name: &str, message: impl Display, hint: Option<&str>) {
        let found = self.diagnostic(name, message, hint).warning();
        self.warnings.push(|| found);
    }

    /// Adds an error about something else, such as a file that a variable names.
    pub(crate) fn add_diagnostic(&mut self, found: Diagnostic) {
        self.errors.push(|| found);
    }

    /// Adds a warning about something else, such as a file that a variable names.
    pub(crate) fn add_found_warning(&mut self, found: Diagnostic) {
        self.warnings.push(|| found);
    }

    fn diagnostic(&self, name: &str, message: impl Display, hint: Option<&str>) -> Diagnostic {
        let found = match self.values.get(name) {
            Some(value) => value.error(name, message),
            None => Diagnostic::error(crate::env::FILE, 0, format!("{name}: {message}")),
        };
        match hint {
            Some(hint) => found.hint(hint),
            None => found,
        }
    }

    /// Returns the warnings, or all errors if there are any.
    pub(crate) fn finish(self) -> Result<Vec<Diagnostic>, Diagnostics> {
        if self.errors.is_empty() {
            Ok(self.warnings.finish())
        } else {
            Err(Diagnostics(self.errors.finish()))
        }
    }
}
