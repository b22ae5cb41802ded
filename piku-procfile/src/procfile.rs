//! The Procfile: one process type a line, `name: command`. FORMATS.md's table is this module's contract; its rows are the
//! tests in `tests/procfile.rs`.

mod parser;

use std::fmt;
use std::path::Path;

use piku_layout::name::ProcessName;
use piku_report::diagnostic::{Diagnostic, Diagnostics};
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::{schedule, source};

/// The file's name at the top of an app.
pub const FILE: &str = "Procfile";

/// How strict the parsers are. The default is what FORMATS.md says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParseOptions {
    /// Names of process types must be DNS labels.
    pub strict: bool,
    /// Takes what the Python piku takes: duplicates, bad names and garbage lines are warnings.
    pub piku_compat: bool,
}

/// What is done with a process type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessKind {
    /// Serves HTTP on PORT.
    Web,
    /// `module:callable`, served on PORT by gunicorn.
    Wsgi,
    /// Runs for ever, without a port.
    Worker,
    /// Runs once per release, before its workers start.
    Release,
    /// Runs before the build.
    Preflight,
    /// Names a folder for the web server.
    Static,
    /// Runs at the times of its schedule.
    Cron,
}

impl ProcessKind {
    /// The kind of a line with this name; `command` is the whole text after the colon, a schedule in front included.
    #[must_use]
    pub fn of(name: &ProcessName, command: &str) -> Self {
        match name.as_str() {
            "web" => Self::Web,
            "wsgi" => Self::Wsgi,
            "release" => Self::Release,
            "preflight" => Self::Preflight,
            "static" => Self::Static,
            name if schedule::is_cron(name) && schedule::looks_like_one(command) => Self::Cron,
            _ => Self::Worker,
        }
    }

    /// Whether each instance gets a PORT.
    #[must_use]
    pub fn listens(self) -> bool {
        matches!(self, Self::Web | Self::Wsgi)
    }

    /// Whether it is a worker that is kept running.
    #[must_use]
    pub fn runs(self) -> bool {
        matches!(self, Self::Web | Self::Wsgi | Self::Worker)
    }
}

/// One process type. `Display` writes it as a line of a Procfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcfileEntry {
    /// The process type.
    pub name: ProcessName,
    /// What is run, as a shell reads it; a schedule in front is not part of it.
    pub command: String,
    /// When a cron runs: five fields one blank apart, or `@daily` and its like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The line in the file, from 1.
    pub line: usize,
    /// What is done with it.
    pub kind: ProcessKind,
}

impl fmt::Display for ProcfileEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schedule {
            Some(schedule) => write!(f, "{}: {schedule} {}", self.name, self.command),
            None => write!(f, "{}: {}", self.name, self.command),
        }
    }
}

/// A good Procfile. `Display` writes one that parses to the same entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procfile {
    /// The process types in the file's order; at least one, no name twice.
    pub entries: Vec<ProcfileEntry>,
    /// What its author should look at.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Display for Procfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl Procfile {
    /// Parses a file's bytes.
    ///
    /// # Errors
    /// With every bad line; the file is called `Procfile` there.
    pub fn parse(text: &[u8], options: ParseOptions) -> Result<Self, Diagnostics> {
        parser::parse(text, FILE, options)
    }

    /// Reads and parses a file.
    ///
    /// # Errors
    /// When it is not there or cannot be read, or is no good: then a [`Diagnostics`].
    pub fn read(path: &Path, options: ParseOptions) -> anyhow::Result<Self> {
        let text = source::read(path)?.ok_or_else(|| {
            UserError::new(format!("there is no file '{}'", path.display()))
                .hint("a Procfile has a line for each process type, such as 'web: gunicorn app:app'")
        })?;
        Ok(parser::parse(&text, &source::label(path, FILE), options)?)
    }

    /// The process type of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ProcfileEntry> {
        self.entries.iter().find(|entry| entry.name.as_str() == name)
    }
}
