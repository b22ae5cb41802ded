//! The machine that a plan is made for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::errors;
use crate::store::hash::CacheKey;
use crate::store::layer::LayerStore;
use crate::store::tools::ToolStores;
use crate::tree::root_view::{FileView, FoundFile};
use piku_layout::jail::{LAYERS, PATH};
use piku_release::target::TargetArchitecture;

/// Machine and stores that a plan is made for.
pub(crate) struct BuildTarget<'a> {
    /// True if steps and processes run in the jail.
    pub(crate) jailed: bool,
    /// Store of the layers, if the caller has one.
    pub(crate) store: Option<&'a LayerStore>,
    /// Stores of the layers with tools that build other layers.
    pub(crate) tools: ToolStores<'a>,
    /// Architecture of this machine, as `uname -m` prints it.
    pub(crate) architecture: &'a str,
    /// Architecture of the release if it is not that of this machine.
    pub(crate) cross: Option<&'static TargetArchitecture>,
    /// Variables that the operator sets for build steps.
    pub(crate) operator_env: &'a BTreeMap<String, String>,
    /// The commit that is built, 40 hex digits; empty when that is not known.
    pub(crate) commit: &'a str,
}

impl BuildTarget<'_> {
    /// Returns the directory in which layers are mounted: the store itself if there is no jail.
    pub(crate) fn layers(&self) -> &Path {
        match self.store {
            Some(store) if !self.jailed => store.path(),
            _ => Path::new(LAYERS),
        }
    }

    /// Returns the start of a layer's key. Increase `format` when the content of such layers changes.
    /// `locked` is true if the inputs determine the layer completely, so that building it again gives the
    /// same result.
    pub(crate) fn key(&self, kind: &str, format: u32, locked: bool) -> CacheKey {
        let mut key = CacheKey::new(kind, format);
        key.field("architecture", self.architecture.as_bytes());
        if let Some(generation) = self.store.and_then(|store| store.generation(locked)) {
            // The name in keys of existing layers.
            key.field("edition", generation.as_bytes());
        }
        key
    }

    /// Returns the path at which processes see the layer `name` with this key.
    pub(crate) fn mount(&self, name: &str, key: &str) -> PathBuf {
        match self.store {
            Some(store) if !self.jailed => store.content(key),
            _ => self.layers().join(name),
        }
    }

    /// Returns the start of the key of a tool, which the generation of the app's layers counts for only if
    /// the tool is the app's own.
    pub(crate) fn tool_key(&self, kind: &str, format: u32, is_shared: bool) -> CacheKey {
        if !is_shared {
            return self.key(kind, format, false);
        }
        let mut key = CacheKey::new(kind, format);
        key.field("architecture", self.architecture.as_bytes());
        key
    }

    /// Adds the week to the key of a tool whose version is a range, so that new apps get a new one.
    pub(crate) fn add_week(key: &mut CacheKey) {
        let weeks = jiff::Timestamp::now().as_second() / (7 * 24 * 3600);
        key.field("week", weeks.to_string().as_bytes());
    }

    /// Returns the path at which the steps of a layer see the tool `name` with this key; without a key, the
    /// common part of all such paths.
    pub(crate) fn tool_mount(&self, name: &str, key: &str) -> PathBuf {
        match self.tools.own {
            Some(store) if !self.jailed => store.content(key),
            _ => Path::new("/tools").join(name),
        }
    }

    /// Returns a program of this machine, as steps and processes find it: in the jail only if the jail shows
    /// it.
    pub(crate) fn find_tool(&self, name: &str) -> Option<FoundFile> {
        FileView::of_host(self.jailed, PATH).program(name)
    }

    /// Debian's cross compiler of C for the target, by its name; nothing where it is not installed.
    pub(crate) fn cross_compiler(&self) -> Option<String> {
        let name = format!("{}-gcc", self.cross?.gnu?);
        self.find_tool(&name).map(|_| name)
    }

    /// Finds a program like [`BuildTarget::find_tool`] that an app of the kind `what` ("a Java app") needs.
    ///
    /// # Errors
    /// Fails if it is missing, and names the Debian package that contains it.
    pub(crate) fn tool(&self, what: &str, name: &str) -> anyhow::Result<FoundFile> {
        Ok(self.find_tool(name).ok_or_else(|| errors::missing_tool(what, name))?)
    }
}
