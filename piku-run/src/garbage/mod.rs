//! Garbage collection: finds and removes old releases, layers that no release needs, caches over the size
//! limit, logs of old deploys, and leftovers of killed processes.
//!
//! A directory is renamed before it is removed, so a half-removed one is never taken for whole. After a change the
//! daemon removes what was renamed, in the background; the next collection finishes what was interrupted. Kernel
//! locks protect what is in use: a push locks the app, a process that makes a release from another release's tree
//! locks `releases/`, and a build locks the layers it uses.

mod caches;
mod deploy_logs;
pub(crate) mod disk_usage;
mod expiry_timer;
pub(crate) mod image_bases;
mod leftovers;
mod old_releases;
mod removal_queue;
pub(crate) mod scratch;
pub(crate) mod shared_tools;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use piku_files::{FileKind, FileLock, TreeHandle};
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_release::folded;
use piku_release::layers::{self, TOOLS};
use piku_release::manifest::BuiltRelease;
use piku_release::removals::{self, finish_removals_but_spare};
use piku_report::progress;
use serde::Serialize;

use crate::ipc::client;
use crate::releases::current;

pub(crate) use expiry_timer::ExpiryTimer;
pub(crate) use removal_queue::RemovalQueue;

/// Tools that build layers, such as poetry, are removed when unused for this long; a later build fetches them
/// again.
const TOOL_LIFETIME: Duration = Duration::from_secs(60 * 24 * 3600);

/// The nice value of removals in the background.
const LOWEST_PRIORITY: i32 = 19;

/// A file or directory that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GarbageItem {
    /// `None` for what belongs to no app.
    pub(crate) app: Option<AppName>,
    pub(crate) kind: GarbageKind,
    /// Path relative to the app's directory, or to the root.
    pub(crate) name: PathBuf,
    /// Bytes that the removal frees, without files that something else shares.
    pub(crate) bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GarbageKind {
    Release,
    /// A layer that no release needs, or an unfinished one.
    Layer,
    /// A tool that builds of all apps share.
    Tool,
    /// A base of container images.
    ImageBase,
    /// The cache of one package manager.
    Cache,
    /// The log or the failure record of a deploy.
    Log,
    /// A temporary file or directory of a killed process.
    Leftover,
    /// Changes of a killed process in `/app`.
    Scratch,
}

impl GarbageKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Layer => "layer",
            Self::Tool => "tool",
            Self::ImageBase => "image-base",
            Self::Cache => "cache",
            Self::Log => "log",
            Self::Leftover => "leftover",
            Self::Scratch => "scratch",
        }
    }
}

impl GarbageItem {
    fn release_number(&self) -> Option<u64> {
        let number = || self.name.file_name()?.to_str()?.parse().ok();
        (self.kind == GarbageKind::Release).then(number).flatten()
    }
}

/// The kinds of garbage that a collection covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectScope {
    /// After a config change or a rollback: a push may be under way, and its build uses layers and caches.
    Releases,
    /// After a deploy, whose hook keeps other pushes out. Caches are measured once a day.
    Deploy,
    /// Everything; the caller holds the app's lock.
    All,
}

/// Finds and removes the garbage of one app.
#[derive(Debug)]
pub(crate) struct AppCollector<'a> {
    pub(crate) app: &'a AppName,
    pub(crate) dir: &'a AppDir,
    pub(crate) settings: &'a HostSettings,
}

impl AppCollector<'_> {
    /// Removes files that are garbage and withdraws directories, which are to be removed without the lock. Returns the
    /// errors of single items, which the next collection tries again.
    pub(crate) fn withdraw_all(&self, scope: CollectScope) -> anyhow::Result<Vec<String>> {
        let Some(_lock) = lock_releases(self.dir)? else { return Ok(Vec::new()) };
        let garbage = self.find_garbage(scope)?;
        let failed = garbage.iter().filter_map(|item| match self.withdraw(item) {
            Ok(Some(path)) if !removals::is_withdrawn(path.file_name()?) => current::remove_dir(&path).err(),
            withdrawn => withdrawn.err(),
        });
        Ok(failed.map(|err| format!("{err:#}")).collect())
    }

    /// Finds the garbage without counting its bytes.
    pub(crate) fn find_garbage(&self, scope: CollectScope) -> anyhow::Result<Vec<GarbageItem>> {
        let mut found = Vec::new();
        let mut add = |kind: GarbageKind, paths: Vec<PathBuf>| {
            found.extend(paths.into_iter().map(|path| {
                let name = path.strip_prefix(self.dir.path()).unwrap_or(&path).to_owned();
                GarbageItem { app: Some(self.app.clone()), kind, name, bytes: 0 }
            }));
        };
        // Without a live release, needed and old releases cannot be told apart.
        if let Some(live) = self.dir.current_number() {
            let (old, kept) = old_releases::split_releases(self.dir, live, self.settings.keep_releases)?;
            add(GarbageKind::Release, old.iter().map(|number| self.dir.release(*number)).collect());
            let covers_layers = scope != CollectScope::Releases;
            if let Some(needed) = covers_layers.then(|| needed_layers(self.dir, &kept)).flatten() {
                let unused = layers::list_unused(&self.dir.layers(), &needed);
                add(GarbageKind::Layer, or_tell(unused, &self.dir.layers()));
            }
            add(GarbageKind::Log, deploy_logs::find_old(self.dir, &kept));
        }
        if scope != CollectScope::Releases {
            let cache = self.dir.cache();
            // An unjailed build may have replaced the directory by a symlink to something else.
            if current::has_dir(&cache, TOOLS) {
                let tools = cache.join(TOOLS);
                add(GarbageKind::Layer, or_tell(layers::list_unused_for(&tools, TOOL_LIFETIME), &tools));
            }
        }
        let limit = self.settings.cache_limit.saturating_mul(1 << 20);
        match scope {
            CollectScope::Releases => {}
            CollectScope::Deploy => {
                add(GarbageKind::Cache, caches::find_excess_daily(&self.dir.cache(), limit));
            }
            CollectScope::All => add(GarbageKind::Cache, caches::find_excess(&self.dir.cache(), limit)),
        }
        add(GarbageKind::Leftover, leftovers::find(self.dir, scope == CollectScope::All));
        if scope == CollectScope::All {
            add(GarbageKind::Scratch, scratch::find_abandoned(self.dir));
        }
        Ok(found)
    }

    /// Sets the bytes that the removal of each item frees, if all are removed in this order.
    pub(crate) fn measure(&self, found: &mut [GarbageItem]) {
        let mut freed = disk_usage::FreedSpace::default();
        for item in found {
            item.bytes = freed.add_tree(&self.dir.path().join(&item.name));
        }
    }

    /// Removes an item; returns false if a build has begun to use it.
    pub(crate) fn remove(&self, item: &GarbageItem) -> anyhow::Result<bool> {
        let Some(path) = self.withdraw(item)? else { return Ok(false) };
        current::remove_dir(&path).map(|()| true)
    }

    /// Renames a directory, so that nothing uses it any more. Returns the path that is to be removed; `None` if a build
    /// has begun to use it.
    fn withdraw(&self, item: &GarbageItem) -> anyhow::Result<Option<PathBuf>> {
        let path = self.dir.path().join(&item.name);
        let cannot = || format!("cannot remove '{}'", path.display());
        match item.kind {
            GarbageKind::Layer | GarbageKind::Tool => {
                return layers::withdraw_layer(&path).with_context(cannot);
            }
            GarbageKind::Release | GarbageKind::Cache | GarbageKind::Leftover => {}
            GarbageKind::ImageBase | GarbageKind::Log | GarbageKind::Scratch => return Ok(Some(path)),
        }
        if let Some(number) = item.release_number() {
            folded::unfold_dependents(self.dir, number)?;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        // Elsewhere, such as in a release, no later removal would find what is withdrawn.
        let can_wait = removals::can_withdraw_in(self.dir, folder);
        if removals::is_withdrawn(name) || !can_wait || !current::has_dir(folder, name) {
            return Ok(Some(path));
        }
        removals::withdraw(&path).with_context(cannot).map(Some)
    }
}

/// Returns what a store has; reports one that cannot be read, which stops nothing else.
fn or_tell(listed: io::Result<Vec<PathBuf>>, store: &Path) -> Vec<PathBuf> {
    listed.unwrap_or_else(|err| {
        progress::warning(&format!("cannot list '{}': {err}", store.display()));
        Vec::new()
    })
}

/// Removes a layer or a shared tool; returns false if a build has begun to use it.
fn remove_layer(path: &Path) -> anyhow::Result<bool> {
    let gone = layers::withdraw_layer(path).with_context(|| format!("cannot remove '{}'", path.display()))?;
    let Some(gone) = gone else { return Ok(false) };
    current::remove_dir(&gone).map(|()| true)
}

/// Collects garbage after a successful change, and has the daemon remove the directories. Failures are printed and do
/// not fail the change.
pub(crate) fn collect_after_change(root: &PikuRoot, app: &AppName, scope: CollectScope) {
    let dir = root.app(app);
    let collected = HostSettings::read(&root.settings())
        .and_then(|settings| AppCollector { app, dir: &dir, settings: &settings }.withdraw_all(scope))
        .and_then(|errors| {
            remove_withdrawn(root, app)?;
            Ok(errors)
        });
    let shared = || match scope {
        CollectScope::Releases => anyhow::Ok(Vec::new()),
        _ => Ok([shared_tools::collect(root), image_bases::remove(root, false)?.1].concat()),
    };
    let collected = collected.and_then(|errors| Ok([errors, shared()?].concat()));
    match collected {
        Ok(errors) => errors.iter().for_each(|error| progress::detail(error)),
        Err(err) => progress::detail(&format!("cannot collect garbage: {err:#}")),
    }
}

/// Has the daemon remove the withdrawn directories of an app, if there are any.
pub(crate) fn remove_withdrawn(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    // Without a daemon, nothing else would remove them.
    if !removals::list_withdrawn(&dir).is_empty() && client::ask_removal(root, app).is_err() {
        finish_removals_but_spare(&dir)?;
    }
    Ok(())
}

/// Removes the withdrawn directories of an app with the lowest priority, as the daemon's child.
pub(crate) fn remove_in_background(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    // Without it, the removal only takes more of the processors.
    let _ = rustix::process::setpriority_process(None, LOWEST_PRIORITY);
    finish_removals_but_spare(&root.app(app))?;
    Ok(())
}

/// Lock on `releases/`: while it is held, no process makes a release from another release's tree.
#[derive(Debug)]
pub(crate) struct CollectionLock {
    /// `None` if the directory does not exist.
    folder: Option<FileLock<TreeHandle>>,
}

impl Drop for CollectionLock {
    /// Unlocks, although a process that is just being started still has the descriptor.
    fn drop(&mut self) {
        // Otherwise the descriptors that are closed unlock it.
        let _ = self.folder.take().map(FileLock::unlock);
    }
}

/// Takes the lock on `releases/`; returns `None` if a release is being made.
pub(crate) fn lock_releases(dir: &AppDir) -> anyhow::Result<Option<CollectionLock>> {
    let path = dir.releases();
    let folder = match TreeHandle::open_following(&path) {
        Ok(folder) => folder,
        Err(err) if err.is_missing() => return Ok(Some(CollectionLock { folder: None })),
        Err(err) => return Err(err.into()),
    };
    let lock =
        FileLock::try_exclusive(folder).with_context(|| format!("cannot lock '{}'", path.display()))?;
    Ok(lock.map(|lock| CollectionLock { folder: Some(lock) }))
}

/// Returns the layers that these releases need; `None` if a manifest cannot be read.
fn needed_layers(dir: &AppDir, kept: &[u64]) -> Option<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for number in kept {
        let release = BuiltRelease::read(&dir.release(*number)).ok()?;
        needed.extend(release.layers.into_iter().map(|layer| layer.key).chain(release.kept));
    }
    Some(needed)
}

#[derive(Debug)]
struct FoundEntry {
    name: String,
    path: PathBuf,
    /// The kind of a symlink itself, never of its target.
    kind: FileKind,
}

/// Lists one of piku's own directories, sorted by name; empty if it cannot be read.
fn entries(folder: &Path) -> Vec<FoundEntry> {
    TreeHandle::open_following(folder).map(|folder| entries_of(&folder)).unwrap_or_default()
}

/// Lists the top of a tree, sorted by name; empty if it cannot be read.
fn entries_of(tree: &TreeHandle) -> Vec<FoundEntry> {
    let entries = tree.read_dir("").unwrap_or_default().into_iter();
    let found = entries.filter_map(|entry| {
        let name = entry.name.into_string().ok()?;
        Some(FoundEntry { path: tree.path().join(&name), name, kind: entry.kind })
    });
    found.collect()
}
