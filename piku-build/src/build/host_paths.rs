//! Paths of the host in which builds find settings and keep their results.

#![expect(clippy::disallowed_methods, reason = "folders that the caller names")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::TreeHandle;
use piku_layout::settings::{HostSettings, SandboxMode};

use crate::app::app_folder;
use crate::app::app_source::AppSource;
use crate::errors;
use crate::runtime::buildpack;
use crate::step::sandbox::SandboxPolicy;
use crate::store::layer::LayerStore;

/// Paths of the host that a build uses.
pub(crate) struct HostPaths {
    /// Directory of the layers.
    pub(crate) layers: Option<PathBuf>,
    /// Directory of the layers with tools that build other layers.
    pub(crate) tools: Option<PathBuf>,
    /// Directory of the layers with tools that all apps share.
    pub(crate) shared_tools: Option<PathBuf>,
    /// Path of `host.yaml`.
    pub(crate) settings: Option<PathBuf>,
    /// Path of the app's `config.json`.
    pub(crate) config: Option<PathBuf>,
    /// Directory of the operator's buildpacks.
    pub(crate) buildpacks: Option<PathBuf>,
    /// Overrides the sandbox of the host settings.
    pub(crate) sandbox: Option<SandboxMode>,
}

impl HostPaths {
    /// Reads the app in this folder, or in the one below it that `APP_DIR` names.
    pub(crate) fn read_app(&self, dir: &Path) -> anyhow::Result<AppSource> {
        self.with_packs(app_folder::read_app(dir, self.config.as_deref())?)
    }

    /// Reads the app in this tree, without a look at `APP_DIR`.
    pub(crate) fn read_tree(&self, tree: &TreeHandle) -> anyhow::Result<AppSource> {
        self.with_packs(AppSource::read_tree(tree, self.config.as_deref())?)
    }

    fn with_packs(&self, mut source: AppSource) -> anyhow::Result<AppSource> {
        source.packs = self.buildpacks.as_deref().map(buildpack::list_host_buildpacks).unwrap_or_default();
        source.sandbox = SandboxPolicy::new(self.sandbox, &self.read_settings()?);
        Ok(source)
    }

    /// Opens the store of the tools that all apps share. Without a jail, the steps of an app could write to
    /// it.
    pub(crate) fn open_shared_tools(&self, jailed: bool) -> anyhow::Result<Option<LayerStore>> {
        self.shared_tools.as_deref().filter(|_| jailed).map(LayerStore::new).transpose()
    }

    /// Reads the host settings; the defaults if there is no file.
    pub(crate) fn read_settings(&self) -> anyhow::Result<HostSettings> {
        self.settings.as_deref().map(HostSettings::read).transpose().map(Option::unwrap_or_default)
    }
}

/// Fails if the output exists: a release is never overwritten.
pub(crate) fn refuse_existing(output: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(output) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err).with_context(|| format!("cannot look at '{}'", output.display())),
        Ok(_) => Err(errors::output_exists(output).into()),
    }
}

/// Creates the directory if it is missing, and returns its path without links.
pub(crate) fn create_folder(dir: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(dir)
        .and_then(|()| fs::canonicalize(dir))
        .with_context(|| format!("cannot make '{}'", dir.display()))
}
