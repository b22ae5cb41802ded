//! What a plan knows of the machine that it is made for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::errors;
use crate::store::hash::CacheKey;
use crate::store::layer::LayerStore;
use crate::tree::root_view::{FileView, FoundFile};
use piku_layout::jail::PATH;
use piku_release::target::TargetArchitecture;

/// Where a plan is for.
pub(crate) struct BuildTarget<'a> {
    /// Whether steps and processes run in the jail.
    pub(crate) jailed: bool,
    /// Where layers are kept; unknown when a plan is made without one.
    pub(crate) store: Option<&'a LayerStore>,
    /// Where the tools that make layers are kept.
    pub(crate) tools: Option<&'a LayerStore>,
    /// This machine's, as `uname -m` says.
    pub(crate) architecture: &'a str,
    /// The architecture of the machine that the release is for, where that is another one.
    pub(crate) cross: Option<&'static TargetArchitecture>,
    /// What the operator puts into the environment of build steps.
    pub(crate) build_env: &'a BTreeMap<String, String>,
    /// The commit that is built, 40 hex digits; empty when that is not known.
    pub(crate) commit: &'a str,
}

impl BuildTarget<'_> {
    /// Where layers are mounted: their own path where there is no jail.
    pub(crate) fn layers(&self) -> &Path {
        match self.store {
            Some(store) if !self.jailed => store.path(),
            _ => Path::new("/layers"),
        }
    }

    /// The beginning of a layer's key: what all layers of this kind here have in common. A change of what they look like
    /// changes `format`. `locked` says that the facts that follow leave nothing open: to build it once more comes to the same.
    pub(crate) fn key(&self, kind: &str, format: u32, locked: bool) -> CacheKey {
        let mut key = CacheKey::new(kind, format);
        key.fact("architecture", self.architecture.as_bytes());
        if let Some(edition) = self.store.and_then(|store| store.edition(locked)) {
            key.fact("edition", edition.as_bytes());
        }
        key
    }

    /// Where processes find the layer `name` of this key.
    pub(crate) fn mount(&self, name: &str, key: &str) -> PathBuf {
        match self.store {
            Some(store) if !self.jailed => store.content(key),
            _ => self.layers().join(name),
        }
    }

    /// Where the steps of a layer find the tool `name` of this key; without a key, what all such places have in common.
    pub(crate) fn tool_mount(&self, name: &str, key: &str) -> PathBuf {
        match self.tools {
            Some(store) if !self.jailed => store.content(key),
            _ => Path::new("/tools").join(name),
        }
    }

    /// A program of this machine, as steps and processes find it: in the jail only where the jail shows it.
    pub(crate) fn find_tool(&self, name: &str) -> Option<FoundFile> {
        FileView::of_host(self.jailed, PATH).program(name)
    }

    /// Debian's cross compiler of C for the target, by its name; nothing where it is not installed.
    pub(crate) fn cross_compiler(&self) -> Option<String> {
        let name = format!("{}-gcc", self.cross?.gnu?);
        self.find_tool(&name).map(|_| name)
    }

    /// The same as [`BuildTarget::find_tool`] for a program that an app of the kind `what` ("a Java app") cannot be built without.
    ///
    /// # Errors
    /// When it is not there, with the Debian package that has it.
    pub(crate) fn tool(&self, what: &str, name: &str) -> anyhow::Result<FoundFile> {
        Ok(self.find_tool(name).ok_or_else(|| errors::missing_tool(what, name))?)
    }
}
