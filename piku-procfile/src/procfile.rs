//! The Procfile: one process type per line, `name: command`. The contract is the table in
//! `docs/procfile-and-env.md`, whose rows are tests in `tests/procfile.rs`.

mod parser;
pub(crate) mod static_entry;
mod unserved;

use std::fmt;
use std::path::Path;

use piku_layout::name::ProcessName;
use piku_report::diagnostic::{Diagnostic, Diagnostics};
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

use crate::{misspelt, read_file, schedule};

/// File name at the top of an app tree.
pub const FILE: &str = "Procfile";

/// Options of the Procfile and ENV parsers. The default follows `docs/procfile-and-env.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParseOptions {
    /// Reject process types that are not DNS labels.
    pub strict: bool,
    /// Accept what the Python piku accepts: duplicates, bad names and malformed lines are warnings.
    pub piku_compat: bool,
}

/// Use that piku makes of a process type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessKind {
    /// Serves HTTP on PORT.
    Web,
    /// `module:callable`, served on PORT by gunicorn.
    Wsgi,
    /// Runs continuously, without a port.
    Worker,
    /// Runs once per release, before its workers start.
    Release,
    /// Runs before the build.
    Preflight,
    /// Names a directory that the web server serves.
    Static,
    /// Runs at the times of its schedule.
    Cron,
}

impl ProcessKind {
    /// Returns the kind of an entry. `command` is the text after the colon, including a schedule.
    #[must_use]
    pub fn classify(name: &ProcessName, command: &str) -> Self {
        match name.as_str() {
            "web" => Self::Web,
            "wsgi" => Self::Wsgi,
            "release" => Self::Release,
            "preflight" => Self::Preflight,
            "static" => Self::Static,
            name if schedule::is_cron_name(name) && schedule::looks_like_schedule(command) => Self::Cron,
            _ => Self::Worker,
        }
    }

    /// Returns true if each instance gets a PORT.
    #[must_use]
    pub fn has_port(self) -> bool {
        matches!(self, Self::Web | Self::Wsgi)
    }

    /// Returns true if the supervisor keeps instances of it running.
    #[must_use]
    pub fn is_long_running(self) -> bool {
        matches!(self, Self::Web | Self::Wsgi | Self::Worker)
    }
}

/// A process type of a Procfile. `Display` writes it as a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcfileEntry {
    /// Unique in the file.
    pub name: ProcessName,
    /// Shell command, without the schedule.
    pub command: String,
    /// Schedule of a cron job: five fields separated by one blank, or a word such as `@daily`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Line in the file, from 1.
    pub line: usize,
    /// Follows from the name and the command.
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

/// A valid Procfile. `Display` writes a file that parses to the same entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procfile {
    /// Entries in the order of the file; at least one, with unique names.
    pub entries: Vec<ProcfileEntry>,
    /// Valid, but probably a mistake.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Display for Procfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl Procfile {
    /// Parses the content of a file, which diagnostics call `Procfile`.
    ///
    /// # Errors
    /// Returns a diagnostic for every bad line.
    pub fn parse(text: &[u8], options: ParseOptions) -> Result<Self, Diagnostics> {
        parser::parse_procfile(text, FILE, options)
    }

    /// Reads and parses a file.
    ///
    /// # Errors
    /// Fails if the file is missing or unreadable, or with [`Diagnostics`] if it is invalid.
    pub fn read(path: &Path, options: ParseOptions) -> anyhow::Result<Self> {
        let text = read_file::read_app_file(path)?.ok_or_else(|| {
            let missing = UserError::new(format!("there is no file '{}'", path.display()));
            let names = read_file::list_siblings(path);
            let missing = match misspelt::find_procfile(&names).filter(|_| path.ends_with(FILE)) {
                Some(name) => missing.hint(format!("'{name}' is not read: rename it to '{FILE}'")),
                None => missing,
            };
            missing.hint("a Procfile has a line per process type, such as 'web: gunicorn app:app'")
        })?;
        Ok(parser::parse_procfile(&text, &read_file::label(path, FILE), options)?)
    }

    /// Returns the entry with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ProcfileEntry> {
        self.entries.iter().find(|entry| entry.name.as_str() == name)
    }
}
