//! The ENV file: `NAME=value` a line, with quotes, comments and `$NAME` as FORMATS.md's table says; its rows are the tests in
//! `tests/env.rs`. Nothing in it is ever run.

mod expand;
mod parser;

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use indexmap::IndexMap;
use piku_report::diagnostic::{Diagnostic, Diagnostics};

use crate::procfile::ParseOptions;
use crate::source;

/// The file's name at the top of an app.
pub const FILE: &str = "ENV";

/// What the platform sets for a worker: known to an ENV file after its own earlier names.
pub const PLATFORM: [&str; 12] = [
    "PORT",
    "BIND_ADDRESS",
    "DATA_DIR",
    "PIKU_APP",
    "PIKU_RELEASE",
    "PIKU_COMMIT",
    "PS",
    "PROC_TYPE",
    "PATH",
    "HOME",
    "LANG",
    "USER",
];

/// A good ENV file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvFile {
    /// The names with their values, in the file's order.
    pub vars: IndexMap<String, String>,
    /// The line of each name, from 1.
    pub lines: HashMap<String, usize>,
    /// What its author should look at.
    pub warnings: Vec<Diagnostic>,
}

impl EnvFile {
    /// Parses a file's bytes; `platform` gives the values of names that the file does not set itself before their use.
    ///
    /// # Errors
    /// With every bad line; the file is called `ENV` there. Values are not repeated: they may be secret.
    pub fn parse(
        text: &[u8],
        platform: &IndexMap<String, String>,
        options: ParseOptions,
    ) -> Result<Self, Diagnostics> {
        parser::parse(text, FILE, platform, options)
    }

    /// Reads and parses a file; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read, or is no good: then a [`Diagnostics`].
    pub fn read(
        path: &Path,
        platform: &IndexMap<String, String>,
        options: ParseOptions,
    ) -> anyhow::Result<Self> {
        match source::read(path)? {
            Some(text) => Ok(parser::parse(&text, &source::label(path, FILE), platform, options)?),
            None => Ok(Self::default()),
        }
    }

    /// `NAME=value` lines that this parser and a shell read as the same values.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.vars {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}={}", quoted(value));
        }
        text
    }
}

/// Whether this can be the name of a variable: `[A-Za-z_][A-Za-z0-9_]*`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The value in the plainest form that a shell and this parser agree on.
fn quoted(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    if !value.contains('\'') {
        return format!("'{value}'");
    }
    let mut text = String::with_capacity(value.len() + 8);
    text.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}
