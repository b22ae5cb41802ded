//! The operator's config of an app: one JSON object of strings, readable by its owner only, replaced
//! atomically.
//!
//! Each release carries the config with which it was made and runs with no other. The command `config`
//! edits the app's own file, the [`store`], which follows each live release. It is ahead of the live
//! release only after `--no-restart`, or while the app does not run.

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

pub(crate) use change::ConfigChange;
pub(crate) use edit::{ConfigEdit, parse_assignment, parse_values};

/// Longest `NAME=value` that Linux accepts in an environment, with its NUL (`MAX_ARG_STRLEN` with 4 KiB
/// pages).
const MAX_STRING: usize = 128 * 1024;

/// Variables in the order in which they were first set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ConfigValues(pub(crate) IndexMap<String, String>);

impl ConfigValues {
    /// Reads the file; a missing one is empty.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not an object of strings: treating it as empty would let the
    /// next `set` erase its content.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::find(path)?.unwrap_or_default())
    }

    /// Reads the file; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`ConfigValues::read`].
    #[expect(clippy::disallowed_methods, reason = "a configuration, which only piku writes")]
    pub(crate) fn find(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        };
        let bad = || format!("bad configuration in '{}'", path.display());
        let config: Self = serde_json::from_slice(&text).with_context(bad)?;
        for (name, value) in &config.0 {
            check_name(name, value).with_context(bad)?;
        }
        Ok(Some(config))
    }

    /// Replaces the file with mode 0600 and syncs it.
    ///
    /// # Errors
    /// Fails if it cannot be written; the old file then stays.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        atomic_file::write(path, &self.to_json()?, 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Writes as [`ConfigValues::write`] does, but synced with the release that contains it.
    ///
    /// # Errors
    /// As [`ConfigValues::write`].
    pub(crate) fn write_ordered(&self, path: &Path) -> anyhow::Result<()> {
        atomic_file::write_ordered(path, &self.to_json()?, 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(&self.0).context("cannot make JSON of it")?;
        text.push(b'\n');
        Ok(text)
    }

    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// Fails if no environment can hold it: a bad name, a NUL, or more than 128 KiB.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        check_name(name, value)?;
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Removes a name, if it is set.
    pub(crate) fn unset(&mut self, name: &str) {
        self.0.shift_remove(name);
    }
}

/// Checks that the name is one of a variable.
pub(crate) fn check_env_name(name: &str) -> Result<(), UserError> {
    if env::is_name(name) {
        return Ok(());
    }
    let hint = "a name is made of A-Z, a-z, 0-9 and '_' and does not begin with a digit";
    Err(UserError::new(format!("bad name {name:?}")).hint(hint))
}

/// Checks that an environment can hold the variable.
fn check_name(name: &str, value: &str) -> anyhow::Result<()> {
    check_env_name(name)?;
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
