//! `release.yaml`, the contract between piku-build, which writes it, and piku-run, which starts what it says. One type,
//! the same both ways.

#![expect(
    clippy::disallowed_methods,
    reason = "the manifest and what else piku-run keeps in a release's folder, beside its tree"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indexmap::IndexMap;
use piku_files::atomic_file;
use piku_layout::name::{AppName, ProcessName};
use serde::{Deserialize, Serialize};

/// The file's name in a release's folder.
pub const FILE: &str = "release.yaml";
/// The built tree's folder beside it, `/app` inside the jail.
pub const TREE: &str = "app";
/// Beside it the operator's configuration that the release was made with, mode 0600. No build writes it: piku-run does, when
/// it takes the release in.
pub const CONFIG: &str = "config.json";

/// One finished build, ready to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltRelease {
    /// Whose release it is.
    pub app: AppName,
    /// Its number, counted up by each deploy of the app.
    pub number: u64,
    /// The commit it was built from, 40 hex digits; empty when it was built from a plain folder.
    #[serde(default)]
    pub commit: String,
    /// The first line of the commit's message.
    #[serde(default)]
    pub subject: String,
    /// The name of the key that pushed it.
    #[serde(default)]
    pub by: String,
    /// What it was made by.
    #[serde(default)]
    pub origin: ReleaseOrigin,
    /// The release that its tree was built for; none where that is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_of: Option<u64>,
    /// When it was made, RFC 3339 in UTC: when the build ended, or when its configuration was changed.
    pub at: jiff::Timestamp,
    /// The kind of machine it runs on: `any`, or as `uname -m` says: `x86_64`, `aarch64`, `armv7l`.
    pub architecture: String,
    /// The file that needs that machine: below `app/`, or below a layer's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// The runtime that built it: `python`, `binary`.
    pub runtime: String,
    /// The runtime's version, where it has one.
    #[serde(default)]
    pub version: Option<String>,
    /// What the version comes from, such as `.python-version`.
    #[serde(default)]
    pub version_from: Option<String>,
    /// The dependency layers it needs.
    #[serde(default)]
    pub layers: Vec<ReleaseLayer>,
    /// Folders of this machine beyond those that every jail shows, which it needs to see where they are, read-only: the home of
    /// an interpreter.
    #[serde(default)]
    pub host: Vec<PathBuf>,
    /// Whether the tree has files in `.profile.d` that are read by a shell before each command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profile: bool,
    /// Layers that the next build may use and no process needs: their keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// What can be started, in the Procfile's order.
    pub processes: IndexMap<ProcessName, String>,
    /// The environment that the runtime asks for, below the app's own ENV: PATH, PYTHONUNBUFFERED and such.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether it was built inside the jail, that is for `/app`; one that was not runs where it lies.
    pub jailed: bool,
}

/// What a release was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseOrigin {
    /// A build.
    #[default]
    Deploy,
    /// A changed configuration: the tree is that of the release before it.
    Config,
    /// A way back: tree and configuration are those of an older release.
    Rollback,
}

/// A dependency layer of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseLayer {
    /// What is in it: `venv`.
    pub name: String,
    /// The hash of what determines it, its folder's name below `layers/`.
    pub key: String,
    /// Where processes find it: a path inside the jail, or the layer's own path where there is none.
    pub mount: PathBuf,
}

impl BuiltRelease {
    /// Reads `DIR/release.yaml`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a release.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
        serde_yaml::from_str(&text).with_context(|| format!("bad release in '{}'", path.display()))
    }

    /// Writes `DIR/release.yaml`, on the disk before whatever makes the release live.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE);
        atomic_file::write_ordered(&path, self.text()?.as_bytes(), 0o644)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// The same into a folder that is in the making, and is written out as a whole.
    pub fn write_unsynced(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE);
        fs::write(&path, self.text()?).with_context(|| format!("cannot write '{}'", path.display()))
    }

    fn text(&self) -> anyhow::Result<String> {
        serde_yaml::to_string(self).context("cannot write the release as YAML")
    }
}
