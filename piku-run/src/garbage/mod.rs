//! What nothing needs any more, found and removed: old releases, layers of none of them, caches over their bound, old logs of
//! deploys, and what the killed have left.
//!
//! A name goes in one step before what it names: what is half removed is never taken for whole, and goes the next time. What
//! is in use is held by a lock of the kernel's: the app's by a push, `releases/` by whoever makes a release of another's tree,
//! a layer by the build that has found it.

mod cache;
mod leftover;
mod logs;
mod measure;
mod old;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use piku_build::folded;
use piku_build::release::BuiltRelease;
use piku_build::store::layer::{self, TOOLS};
use piku_files::{FileKind, TreeError, TreeHandle};
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::progress;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::releases::current;

/// A tool that makes layers, such as a poetry, is fetched again when it is wanted after so long.
const TOOLS_STAY: Duration = Duration::from_secs(60 * 24 * 3600);

/// Something that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GarbageItem {
    /// Whose.
    pub(crate) app: AppName,
    pub(crate) kind: GarbageKind,
    /// Its name, below the app's folder.
    pub(crate) name: PathBuf,
    /// What its removal frees: a file that something else shares is not counted.
    pub(crate) bytes: u64,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GarbageKind {
    /// An old release.
    Release,
    /// A layer of dependencies that no release needs, or that was never finished.
    Layer,
    /// A package manager's cache.
    Cache,
    /// What a deploy said.
    Log,
    /// What somebody who was killed has left.
    Leftover,
}

impl GarbageKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Layer => "layer",
            Self::Cache => "cache",
            Self::Log => "log",
            Self::Leftover => "leftover",
        }
    }
}

impl GarbageItem {
    /// Which release it is.
    fn number(&self) -> Option<u64> {
        let number = || self.name.file_name()?.to_str()?.parse().ok();
        (self.kind == GarbageKind::Release).then(number).flatten()
    }
}

/// How far a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectScope {
    /// After a configuration or a rollback: a push may be under way, and its build counts on layers and caches.
    Releases,
    /// After a deploy, whose hook keeps other pushes out; what takes long to measure is not measured each time.
    Deploy,
    /// Everything; for the holder of the app's lock.
    All,
}

/// One app's.
#[derive(Debug)]
pub(crate) struct AppCollector<'a> {
    pub(crate) app: &'a AppName,
    pub(crate) dir: &'a AppDir,
    pub(crate) settings: &'a HostSettings,
}

impl AppCollector<'_> {
    /// Looks, and removes what it finds. Without a word: it is done beside something else, and again the next time.
    pub(crate) fn tidy(&self, reach: CollectScope) -> anyhow::Result<Vec<String>> {
        let Some(_alone) = alone(self.dir)? else { return Ok(Vec::new()) };
        let garbage = self.find(reach)?;
        let failed = garbage.iter().filter_map(|one| self.remove(one).err());
        Ok(failed.map(|err| format!("{err:#}")).collect())
    }

    /// What there is, its bytes not counted yet.
    pub(crate) fn find(&self, reach: CollectScope) -> anyhow::Result<Vec<GarbageItem>> {
        let mut found = Vec::new();
        let mut add = |kind: GarbageKind, paths: Vec<PathBuf>| {
            found.extend(paths.into_iter().map(|path| {
                let name = path.strip_prefix(self.dir.path()).unwrap_or(&path).to_owned();
                GarbageItem { app: self.app.clone(), kind, name, bytes: 0 }
            }));
        };
        // Without a live release there is nothing to tell the needed from the others.
        if let Some(live) = self.dir.current_number() {
            let (old, kept) = old::releases(self.dir, live, self.settings.keep_releases)?;
            add(GarbageKind::Release, old.iter().map(|number| self.dir.release(*number)).collect());
            let looks = reach != CollectScope::Releases;
            if let Some(needed) = looks.then(|| needed_layers(self.dir, &kept)).flatten() {
                let unused = layer::unused(&self.dir.layers(), &needed);
                add(GarbageKind::Layer, unused.context("cannot list the layers")?);
            }
            add(GarbageKind::Log, logs::old(self.dir, &kept));
        }
        if reach != CollectScope::Releases {
            let cache = self.dir.cache();
            // A link that a build without a jail has put in their place leads to what is not theirs.
            if current::has_folder(&cache, TOOLS) {
                let tools = layer::unused_for(&cache.join(TOOLS), TOOLS_STAY);
                add(GarbageKind::Layer, tools.context("cannot list the tools")?);
            }
        }
        let limit = self.settings.cache_limit.saturating_mul(1 << 20);
        match reach {
            CollectScope::Releases => {}
            CollectScope::Deploy => {
                add(GarbageKind::Cache, cache::over_now_and_then(&self.dir.cache(), limit));
            }
            CollectScope::All => add(GarbageKind::Cache, cache::over(&self.dir.cache(), limit)),
        }
        add(GarbageKind::Leftover, leftover::find(self.dir, reach == CollectScope::All));
        Ok(found)
    }

    /// Counts what the removal of all of it frees.
    pub(crate) fn measure(&self, found: &mut [GarbageItem]) {
        let mut measure = measure::FreedSpace::default();
        for one in found {
            one.bytes = measure.frees(&self.dir.path().join(&one.name));
        }
    }

    /// Removes it; says whether it is gone, which it is not when it has come into use.
    pub(crate) fn remove(&self, one: &GarbageItem) -> anyhow::Result<bool> {
        let path = self.dir.path().join(&one.name);
        let cannot = || format!("cannot remove '{}'", path.display());
        let gone = match one.kind {
            GarbageKind::Layer => match layer::withdraw(&path).with_context(cannot)? {
                Some(gone) => gone,
                None => return Ok(false),
            },
            GarbageKind::Release | GarbageKind::Cache => {
                if let Some(number) = one.number() {
                    folded::unfold_dependents(self.dir, number)?;
                }
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let gone = path.with_file_name(format!(".{name}{}", leftover::GONE));
                current::remove(&gone)?;
                rename(&path, &gone).with_context(cannot)?;
                gone
            }
            GarbageKind::Log | GarbageKind::Leftover => path,
        };
        current::remove(&gone).map(|()| true)
    }
}

/// Tidies up after something that has succeeded. What cannot be removed now is tried again the next time.
pub(crate) fn after(root: &PikuRoot, app: &AppName, reach: CollectScope) {
    let tidied = HostSettings::read(&root.settings())
        .and_then(|settings| AppCollector { app, dir: &root.app(app), settings: &settings }.tidy(reach));
    match tidied {
        Ok(left) => left.iter().for_each(|why| progress::detail(why)),
        Err(err) => progress::detail(&format!("cannot remove what nothing needs: {err:#}")),
    }
}

/// As long as it is there, nobody makes a release of another's tree.
#[derive(Debug)]
pub(crate) struct SoleCollector {
    /// Where there are no releases nobody can make one of another.
    _folder: Option<TreeHandle>,
}

/// Keeps everybody out who makes a release of another's tree; nothing when somebody does just now.
pub(crate) fn alone(dir: &AppDir) -> anyhow::Result<Option<SoleCollector>> {
    let path = dir.releases();
    let folder = match TreeHandle::open_following(&path) {
        Ok(folder) => folder,
        Err(err) if err.is_missing() => return Ok(Some(SoleCollector { _folder: None })),
        Err(err) => return Err(err.into()),
    };
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(SoleCollector { _folder: Some(folder) })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(err) => Err(err).with_context(|| format!("cannot lock '{}'", path.display())),
    }
}

/// The layers that these releases need; nothing when one of them does not say.
fn needed_layers(dir: &AppDir, kept: &[u64]) -> Option<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for number in kept {
        let release = BuiltRelease::read(&dir.release(*number)).ok()?;
        needed.extend(release.layers.into_iter().map(|layer| layer.key).chain(release.kept));
    }
    Some(needed)
}

/// A name in a folder that is looked through.
#[derive(Debug)]
struct FoundEntry {
    name: String,
    path: PathBuf,
    /// That of a link is never that of what it leads to.
    kind: FileKind,
}

/// Lists a folder of piku's own, sorted by name; nothing when it cannot be read.
fn entries(folder: &Path) -> Vec<FoundEntry> {
    TreeHandle::open_following(folder).map(|folder| entries_of(&folder)).unwrap_or_default()
}

/// Lists the top of a tree, sorted by name; nothing when it cannot be read.
fn entries_of(tree: &TreeHandle) -> Vec<FoundEntry> {
    let entries = tree.read_dir("").unwrap_or_default().into_iter();
    let found = entries.filter_map(|entry| {
        let name = entry.name.into_string().ok()?;
        Some(FoundEntry { path: tree.path().join(&name), name, kind: entry.kind })
    });
    found.collect()
}

/// Renames an entry, a link itself where it is one, within its folder.
fn rename(path: &Path, new: &Path) -> Result<(), TreeError> {
    let folder = TreeHandle::open_following(path.parent().unwrap_or(path))?;
    folder.rename(path.file_name().unwrap_or_default(), &folder, new.file_name().unwrap_or_default())
}
