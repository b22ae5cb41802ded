//! What a deploy was of, written down when it begins. A release says so itself once there is one; of a deploy that fails this
//! and its log are what stays.

#![expect(clippy::disallowed_methods, reason = "a record of piku's own")]

use std::fs;
use std::path::Path;

use anyhow::Context;
use piku_files::atomic_file;
use serde::{Deserialize, Serialize};

/// One deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployAttempt {
    /// The commit, 40 hex digits.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// The name of the key that asked for it.
    pub by: String,
    /// When it began, RFC 3339 in UTC.
    pub at: String,
}

impl DeployAttempt {
    /// Reads it.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("bad record in '{}'", path.display()))
    }

    /// Writes it. A power cut may take it, as it takes the end of the deploy's log.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self).context("cannot make JSON of it")?;
        atomic_file::write_passing(path, &text, 0o600)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }
}
