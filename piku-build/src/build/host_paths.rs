//! What belongs to the machine and not to the app: where builds find things and put them.

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

/// What belongs to the machine and not to the app.
pub(crate) struct HostPaths {
    /// Where layers are kept.
    pub(crate) layers: Option<PathBuf>,
    /// Where the tools that make layers are kept.
    pub(crate) tools: Option<PathBuf>,
    /// `host.yaml`.
    pub(crate) settings: Option<PathBuf>,
    /// `config.json`.
    pub(crate) config: Option<PathBuf>,
    /// The operator's buildpacks.
    pub(crate) buildpacks: Option<PathBuf>,
    /// Overrides the settings.
    pub(crate) sandbox: Option<SandboxMode>,
}

impl HostPaths {
    /// The app in this folder, or in the one below it that `APP_DIR` names.
    pub(crate) fn find(&self, dir: &Path) -> anyhow::Result<AppSource> {
        self.with_packs(app_folder::find(dir, self.config.as_deref())?)
    }

    /// The app in this tree itself.
    pub(crate) fn of_tree(&self, tree: &TreeHandle) -> anyhow::Result<AppSource> {
        self.with_packs(AppSource::of_tree(tree, self.config.as_deref())?)
    }

    fn with_packs(&self, mut source: AppSource) -> anyhow::Result<AppSource> {
        source.packs = self.buildpacks.as_deref().map(buildpack::of_host).unwrap_or_default();
        source.sandbox = SandboxPolicy::new(self.sandbox, &self.settings()?);
        Ok(source)
    }

    /// The machine's settings, all defaults where there is no file.
    pub(crate) fn settings(&self) -> anyhow::Result<HostSettings> {
        self.settings.as_deref().map(HostSettings::read).transpose().map(Option::unwrap_or_default)
    }
}

/// A release is never written over.
pub(crate) fn refuse_existing(output: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(output) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err).with_context(|| format!("cannot look at '{}'", output.display())),
        Ok(_) => Err(errors::output_exists(output).into()),
    }
}

/// The folder, made where it is missing, without links in its path.
pub(crate) fn make(dir: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(dir)
        .and_then(|()| fs::canonicalize(dir))
        .with_context(|| format!("cannot make '{}'", dir.display()))
}
