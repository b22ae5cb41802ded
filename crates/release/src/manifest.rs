//! `release.yaml`, which piku-build writes and piku-run reads.

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
/// Directory of the app tree beside the manifest; `/app` inside the jail.
pub const TREE: &str = "app";
/// Record of the links that the tree consists of, mode 0600; only in a release of many files. See [`crate::spare_tree`].
pub const LINKS: &str = "links.index";
/// File with the operator's config of the release, mode 0600. piku-run writes it when it deploys the release.
pub const CONFIG: &str = "config.json";
/// Variable with the private key by which builds fetch private git repositories. Build steps get it as a
/// file, processes of a release not at all.
pub const DEPLOY_KEY: &str = "DEPLOY_KEY";

/// A finished build that can be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltRelease {
    /// The app that the release belongs to.
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
    /// The operation that created the release.
    #[serde(default)]
    pub origin: ReleaseOrigin,
    /// Release whose build made the tree; `None` if it is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_of: Option<u64>,
    /// Time of the build, or of the change of configuration; RFC 3339 in UTC.
    pub at: jiff::Timestamp,
    /// Architecture it runs on: `any`, or as `uname -m` prints it: `x86_64`, `aarch64`, `armv7l`.
    pub architecture: String,
    /// The file that needs that machine: below `app/`, or below a layer's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// The runtime that built it: `python`, `binary`.
    pub runtime: String,
    /// The runtime's version, where it has one.
    #[serde(default)]
    pub version: Option<String>,
    /// Source of the version, such as `.python-version`.
    #[serde(default)]
    pub version_from: Option<String>,
    /// The dependency layers it needs.
    #[serde(default)]
    pub layers: Vec<ReleaseLayer>,
    /// Folders of this machine beyond those that every jail shows, which it needs to see where they are,
    /// read-only: the home of an interpreter.
    #[serde(default)]
    pub host: Vec<PathBuf>,
    /// True if a shell reads files in `.profile.d` before each command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profile: bool,
    /// Layers that the next build may use and no process needs: their keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Process types with their commands, in the Procfile's order.
    pub processes: IndexMap<ProcessName, String>,
    /// Number of instances of types for which the operator has set none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub formation: BTreeMap<ProcessName, u32>,
    /// The environment that the runtime asks for, below the app's own ENV: PATH, PYTHONUNBUFFERED and such.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// True if it was built inside the jail, for `/app`. A release that was not runs in its own directory.
    pub jailed: bool,
}

/// The operation that created a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseOrigin {
    /// A build of a pushed commit.
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
    /// Content of the layer: `venv`.
    pub name: String,
    /// Hash of its inputs, which names its directory below `layers/`.
    pub key: String,
    /// Path at which processes see the layer: inside the jail, or its own path if there is no jail.
    pub mount: PathBuf,
}

impl BuiltRelease {
    /// Returns a release that no build has made: that of a service, or of an app before its first build. It has the number
    /// 0, no commit, layers or variables, and runs in the jail.
    #[must_use]
    pub fn without_build(app: AppName, processes: IndexMap<ProcessName, String>) -> Self {
        Self {
            app,
            number: 0,
            commit: String::new(),
            subject: String::new(),
            by: String::new(),
            origin: ReleaseOrigin::default(),
            tree_of: None,
            at: jiff::Timestamp::now(),
            architecture: String::new(),
            native: None,
            runtime: String::new(),
            version: None,
            version_from: None,
            layers: Vec::new(),
            host: Vec::new(),
            profile: false,
            kept: Vec::new(),
            processes,
            formation: BTreeMap::new(),
            env: BTreeMap::new(),
            jailed: true,
        }
    }

    /// Reads `DIR/release.yaml`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not a release.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
        serde_yaml::from_str(&text).with_context(|| format!("bad release in '{}'", path.display()))
    }

    /// Writes `DIR/release.yaml` so that it reaches the disk before later writes.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE);
        atomic_file::write_ordered(&path, self.to_yaml()?.as_bytes(), 0o644)
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Writes the file into a directory that is still being made and synced as a whole.
    pub fn write_unsynced(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE);
        fs::write(&path, self.to_yaml()?).with_context(|| format!("cannot write '{}'", path.display()))
    }

    fn to_yaml(&self) -> anyhow::Result<String> {
        serde_yaml::to_string(self).context("cannot write the release as YAML")
    }
}
