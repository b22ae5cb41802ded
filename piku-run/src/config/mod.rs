//! The operator's configuration of an app. Exact, one JSON object of names and texts, readable by nobody else, and whole or
//! the old one after a power cut.
//!
//! Each release carries the one that it was made with, and runs with no other. What `config` works on is the app's own file,
//! the [`store`]: it follows each release that goes live with a changed configuration, and is ahead of the live release only
//! where the operator said so (`--no-restart`) or the app does not run.

mod change;
mod edit;
pub(crate) mod store;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use indexmap::IndexMap;
use piku_files::atomic_file;
use piku_procfile::env;
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

pub use change::ConfigChange;
pub use edit::{ConfigEdit, assignment};

/// Linux takes no longer `NAME=value` in a program's environment, its NUL included (`MAX_ARG_STRLEN` with 4 KiB pages).
const MAX_STRING: usize = 128 * 1024;

/// Names and values, in the order in which they were first set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigValues(pub IndexMap<String, String>);

impl ConfigValues {
    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read or is not an object of names and texts. It is never taken for empty then: the next `set`
    /// would erase what it holds.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::find(path)?.unwrap_or_default())
    }

    /// Reads the file; nothing when there is none.
    ///
    /// # Errors
    /// As [`ConfigValues::read`].
    #[expect(clippy::disallowed_methods, reason = "a configuration, which only piku writes")]
    pub fn find(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        };
        let bad = || format!("bad configuration in '{}'", path.display());
        let config: Self = serde_json::from_slice(&text).with_context(bad)?;
        for (name, value) in &config.0 {
            check(name, value).with_context(bad)?;
        }
        Ok(Some(config))
    }

    /// Replaces the file, mode 0600, synced.
    ///
    /// # Errors
    /// When it cannot be written; the old one then stays.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        atomic_file::write(path, &self.text()?, 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// The same, on the disk before whatever makes the release live that it lies in.
    ///
    /// # Errors
    /// As [`ConfigValues::write`].
    pub(crate) fn write_ordered(&self, path: &Path) -> anyhow::Result<()> {
        atomic_file::write_ordered(path, &self.text()?, 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    fn text(&self) -> anyhow::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(&self.0).context("cannot make JSON of it")?;
        text.push(b'\n');
        Ok(text)
    }

    /// A value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// When no environment can hold it: a bad name, a NUL, or more than 128 KiB.
    pub fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        check(name, value)?;
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Removes a name; one that is not there is as good as removed.
    pub fn unset(&mut self, name: &str) {
        self.0.shift_remove(name);
    }
}

/// Whether an environment can hold it.
fn check(name: &str, value: &str) -> anyhow::Result<()> {
    if !env::is_name(name) {
        let failure = UserError::new(format!("bad name {name:?}"));
        return Err(failure
            .hint("a name is made of A-Z, a-z, 0-9 and '_' and does not begin with a digit")
            .into());
    }
    if value.contains('\0') {
        bail!("the value of {name} holds a NUL byte, which no environment can");
    }
    if name.len() + value.len() + 2 > MAX_STRING {
        let failure =
            UserError::new(format!("the value of {name} is longer than the 128 KiB that Linux takes"));
        return Err(failure.hint("put it into a file below DATA_DIR").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
