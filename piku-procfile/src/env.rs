//! The ENV file: `NAME=value` lines with quotes, comments and `$NAME`. The contract is the table in
//! `docs/procfile-and-env.md`, whose rows are tests in `tests/env.rs`. Nothing in the file is ever
//! executed.

mod expand;
mod parser;

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use indexmap::IndexMap;
use piku_report::diagnostic::{Diagnostic, Diagnostics};

use crate::procfile::ParseOptions;
pub(crate) use expand::MAX_STRING;

use crate::quoting::{is_plain, quote_double};
use crate::read_file;

/// File name at the top of an app tree.
pub const FILE: &str = "ENV";

/// Variables that the platform sets for a process. An ENV file can use them unless it sets them itself.
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

/// A valid ENV file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvFile {
    /// Values by name, in the order of the file.
    pub vars: IndexMap<String, String>,
    /// Line of each name, from 1.
    pub lines: HashMap<String, usize>,
    /// Valid, but probably a mistake.
    pub warnings: Vec<Diagnostic>,
}

impl EnvFile {
    /// Parses the content of a file, which diagnostics call `ENV`. `platform` has the values of variables
    /// that the file uses but does not set before.
    ///
    /// # Errors
    /// Returns a diagnostic for every bad line. They do not repeat values, which may be secret.
    pub fn parse(
        text: &[u8],
        platform: &IndexMap<String, String>,
        options: ParseOptions,
    ) -> Result<Self, Diagnostics> {
        parser::parse_env(text, FILE, platform, options)
    }

    /// Reads and parses a file. A missing file is empty.
    ///
    /// # Errors
    /// Fails if the file is unreadable, or with [`Diagnostics`] if it is invalid.
    pub fn read(
        path: &Path,
        platform: &IndexMap<String, String>,
        options: ParseOptions,
    ) -> anyhow::Result<Self> {
        match read_file::read_app_file(path)? {
            Some(text) => Ok(parser::parse_env(&text, &read_file::label(path, FILE), platform, options)?),
            None => Ok(Self::default()),
        }
    }

    /// Writes `NAME=value` lines that this parser and a shell read alike.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.vars {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}={}", quote_value(value));
        }
        text
    }
}

/// Returns true for a valid variable name: `[A-Za-z_][A-Za-z0-9_]*`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Returns the value in the simplest form that a shell and this parser read alike.
fn quote_value(value: &str) -> String {
    if value.is_empty() || is_plain(value, b"_@%+=:,./-") {
        value.to_owned()
    } else if value.contains('\'') {
        quote_double(value, &['"', '\\', '$', '`'])
    } else {
        format!("'{value}'")
    }
}
