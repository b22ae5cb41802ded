//! Records of the cluster in which an app runs, and of those that it has left. They outlive the lines in host.yaml, so
//! that the app can move back.

#![expect(clippy::disallowed_methods, reason = "records in the app's own folder, which only piku writes")]

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::paths::AppDir;
use piku_layout::settings::DeployTo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::releases::current;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    /// Settings with which the app was deployed there last.
    pub(super) to: DeployTo,
    /// Address of the API server; names of contexts say little: k3s calls each `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    /// URLs under which its ingress serves the live release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) urls: Vec<String>,
}

impl ClusterRecord {
    /// Reads the record of the cluster in which the app runs; `None` if there is none.
    pub(super) fn read(dir: &AppDir) -> anyhow::Result<Option<Self>> {
        read_json(&dir.cluster())
    }

    pub(super) fn write(&self, dir: &AppDir) -> anyhow::Result<()> {
        write_json(&dir.cluster(), self)
    }

    /// Reads the records of clusters that the app has left and that may still have objects of it.
    pub(super) fn read_left(dir: &AppDir) -> anyhow::Result<Vec<Self>> {
        Ok(read_json(&dir.left_cluster())?.unwrap_or_default())
    }

    pub(super) fn write_left(dir: &AppDir, left: &[Self]) -> anyhow::Result<()> {
        if left.is_empty() {
            return current::remove_dir(&dir.left_cluster());
        }
        write_json(&dir.left_cluster(), &left)
    }

    /// Adds this cluster to those that the app has left. Until the other record is changed too, the app counts as
    /// running there.
    pub(super) fn mark_left(self, dir: &AppDir) -> anyhow::Result<()> {
        let mut left = Self::read_left(dir)?;
        if !left.contains(&self) {
            left.push(self);
        }
        Self::write_left(dir, &left)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("bad record of a cluster in '{}'", path.display())),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err).with_context(|| format!("cannot read '{}'", path.display())),
    }
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let text = serde_json::to_vec_pretty(value).context("cannot write the record as JSON")?;
    atomic_file::write(path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
}
