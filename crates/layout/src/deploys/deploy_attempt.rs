//! The record of a deploy, written when it begins. A successful deploy has a release with the same facts;
//! of a failed one only this record and its log remain.

#![expect(clippy::disallowed_methods, reason = "a record of piku's own")]

use std::fs;
use std::path::Path;

use anyhow::Context;
use piku_files::atomic_file;
use serde::{Deserialize, Serialize};

/// A deploy that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployAttempt {
    /// Commit hash, 40 hex digits.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// Name of the key that started it.
    pub by: String,
    /// Start time, RFC 3339 in UTC.
    pub at: String,
}

impl DeployAttempt {
    /// Reads the record.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not a record.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("bad record in '{}'", path.display()))
    }

    /// Writes the record without a sync: a power cut may lose it, as it may lose the end of the deploy's log.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self).context("cannot make JSON of it")?;
        atomic_file::write_passing(path, &text, 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }
}
