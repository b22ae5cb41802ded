//! Records of the cluster in which an app runs, and of one that it has left. They outlive the lines in host.yaml, so
//! that the app can move back.

#![expect(clippy::disallowed_methods, reason = "records in the app's own folder, which only piku writes")]

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::settings::DeployTo;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    /// Settings with which the app was deployed there last.
    pub(super) to: DeployTo,
}

impl ClusterRecord {
    /// Reads a record; `None` if there is none.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("bad record of a cluster in '{}'", path.display())),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        }
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("cannot write the record as JSON")?;
        atomic_file::write(path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Makes the record of the app's cluster that of one which it has left.
    pub(super) fn mark_left(running: &Path, left: &Path) -> anyhow::Result<()> {
        match fs::rename(running, left).and_then(|()| atomic_file::sync_parent(left)) {
            Err(err) if err.kind() != ErrorKind::NotFound => {
                Err(err).with_context(|| format!("cannot write '{}'", left.display()))
            }
            _ => Ok(()),
        }
    }
}
