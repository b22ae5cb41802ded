//! The releases of an app that are on the disk: listed, and the old ones removed.

mod successor;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use piku_build::release::Release;
use piku_procfile::layout::AppDir;
use serde::{Deserialize, Serialize};

use piku_procfile::output::{self, Format};

pub(crate) use successor::Successor;

/// Live and the one before it: the instances of the latter may still be ending.
const LEAST_KEPT: usize = 2;
/// What a folder is called while it is being removed: `.NAME.gone`, which nothing takes for a release or a layer.
const GONE: &str = ".gone";

/// One release, as `releases` tells it. Fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its number.
    pub release: u64,
    /// The commit it was built from.
    pub commit: String,
    /// The first line of the commit's message.
    pub subject: String,
    /// The name of the key that pushed it.
    pub by: String,
    /// When it was built; nothing when its release.yaml cannot be read.
    pub at: Option<jiff::Timestamp>,
    /// What it is.
    pub state: State,
}

/// What a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The one that runs.
    Live,
    /// Older than the live one; there to go back to.
    Previous,
    /// Newer than the live one: somebody went back, or it is being deployed.
    Newer,
    /// Its release.yaml cannot be read; it cannot be started.
    Broken,
}

impl State {
    /// The name that `releases` prints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Previous => "previous",
            Self::Newer => "newer",
            Self::Broken => "broken",
        }
    }
}

/// The releases, newest first.
///
/// # Errors
/// When the folder cannot be read. One broken release does not hide the others.
pub fn list(app: &AppDir) -> anyhow::Result<Vec<Row>> {
    let live = app.current_number();
    let mut numbers = numbers(app)?;
    numbers.reverse();
    let row = |number: u64| {
        let read = Release::read(&app.release(number));
        let state = match (&read, live) {
            (Err(_), _) => State::Broken,
            (Ok(_), Some(live)) if number == live => State::Live,
            (Ok(_), Some(live)) if number < live => State::Previous,
            (Ok(_), _) => State::Newer,
        };
        match read {
            Ok(Release { commit, subject, by, at, .. }) => {
                Row { release: number, commit, subject, by, at: Some(at), state }
            }
            Err(_) => Row {
                release: number,
                commit: String::new(),
                subject: String::new(),
                by: String::new(),
                at: None,
                state,
            },
        }
    };
    Ok(numbers.into_iter().map(row).collect())
}

/// Prints them on stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(rows: &[Row], format: Format) -> anyhow::Result<()> {
    output::print(format, rows, || text(rows))
}

fn text(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let at = row.at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        let commit = row.commit.get(..8).unwrap_or(&row.commit).to_owned();
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
        let state = row.state.as_str().to_owned();
        vec![row.release.to_string(), state, at, commit, plain(&row.by), plain(&row.subject)]
    };
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::table(&["RELEASE", "STATE", "AT", "COMMIT", "BY", "SUBJECT"], &rows)
}

/// What [`prune`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// The releases that are gone.
    pub releases: Vec<u64>,
    /// The layers that are gone.
    pub layers: Vec<String>,
    /// What could not be removed, and why; tried again the next time.
    pub left: Vec<String>,
}

/// Removes what is not needed any more: of the releases that are not newer than the live one all but the newest `keep` (two
/// at least, the live one among them), and the layers that no release left refers to. For the holder of the app's lock, once
/// what was deployed has its place among the releases: a layer whose release has not is removed.
///
/// A release becomes invisible in one step before its files go, so that what is half removed is never taken for whole.
///
/// # Errors
/// When the folders cannot be read; then nothing was removed.
pub fn prune(app: &AppDir, keep: usize) -> anyhow::Result<Pruned> {
    let mut pruned = Pruned::default();
    sweep(&app.releases(), &mut pruned.left);
    sweep(&app.layers(), &mut pruned.left);
    // Without a live release there is nothing to tell the needed from the others.
    let Some(live) = app.current_number() else { return Ok(pruned) };
    let mut old = numbers(app)?;
    old.retain(|number| *number <= live);
    let excess = old.len().saturating_sub(keep.max(LEAST_KEPT));
    for number in old.drain(..excess) {
        if number != live && remove(&app.release(number), &mut pruned.left) {
            pruned.releases.push(number);
        }
    }
    let Some(needed) = needed_layers(app)? else { return Ok(pruned) };
    for layer in names(&app.layers())? {
        if !layer.starts_with('.')
            && !needed.contains(&layer)
            && remove(&app.layers().join(&layer), &mut pruned.left)
        {
            pruned.layers.push(layer);
        }
    }
    Ok(pruned)
}

/// The layers that the releases refer to; nothing when one of them does not say.
fn needed_layers(app: &AppDir) -> anyhow::Result<Option<HashSet<String>>> {
    let mut needed = HashSet::new();
    for number in numbers(app)? {
        let Ok(release) = Release::read(&app.release(number)) else { return Ok(None) };
        needed.extend(release.layers.into_iter().map(|layer| layer.key).chain(release.kept));
    }
    Ok(Some(needed))
}

fn numbers(app: &AppDir) -> anyhow::Result<Vec<u64>> {
    app.release_numbers().with_context(|| format!("cannot read '{}'", app.releases().display()))
}

/// The names in a folder, sorted; none when there is no such folder.
fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(err),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    };
    read().with_context(|| format!("cannot read '{}'", folder.display()))
}

/// Removes what an earlier removal, killed or failed, left.
fn sweep(folder: &Path, left: &mut Vec<String>) {
    // What cannot be listed is not swept; who needs the list says so.
    for name in names(folder).unwrap_or_default() {
        if name.starts_with('.') && name.ends_with(GONE) {
            remove_tree(&folder.join(name), left);
        }
    }
}

/// Takes a folder's name away, then the folder; says whether the name is gone.
fn remove(folder: &Path, left: &mut Vec<String>) -> bool {
    let name = folder.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let gone = folder.with_file_name(format!(".{name}{GONE}"));
    match fs::rename(folder, &gone) {
        Ok(()) => {
            remove_tree(&gone, left);
            true
        }
        Err(err) => {
            left.push(format!("cannot remove '{}': {err}", folder.display()));
            false
        }
    }
}

fn remove_tree(folder: &Path, left: &mut Vec<String>) {
    let removed = fs::remove_dir_all(folder).or_else(|_| {
        // Some package managers leave folders that are not writable (Go's module cache).
        make_writable(folder)?;
        fs::remove_dir_all(folder)
    });
    if let Err(err) = removed {
        left.push(format!("cannot remove '{}': {err}", folder.display()));
    }
}

/// Makes every folder below writable for its owner; follows no link.
fn make_writable(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
