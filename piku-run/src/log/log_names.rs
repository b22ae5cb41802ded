//! The logs of an app: their names in its log directory, which may be watched for changes.

#![expect(clippy::disallowed_methods, reason = "the log directory, which only piku writes")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use piku_layout::name::ProcessName;
use piku_layout::paths::AppDir;

/// A watch on log directories.
#[derive(Debug)]
pub(super) struct DirectoryWatch {
    pub(super) inotify: Inotify,
    /// For each directory, in the order in which they were given; `None` if it did not exist.
    watches: Vec<Option<WatchDescriptor>>,
    /// Number of directories that are watched and not removed.
    left: usize,
}

/// Changes in watched directories, by their numbers.
#[derive(Debug, Default)]
pub(super) struct DirectoryChanges {
    pub(super) changed: BTreeSet<usize>,
    /// Of these, the ones in which a file may have appeared.
    pub(super) appeared: BTreeSet<usize>,
    /// A file was removed.
    pub(super) has_removals: bool,
    /// All directories are removed.
    pub(super) is_end: bool,
}

impl DirectoryWatch {
    /// Returns the changes since the last call.
    pub(super) fn read_changes(&mut self) -> nix::Result<DirectoryChanges> {
        let events = match self.inotify.read_events() {
            Err(Errno::EAGAIN) => Vec::new(),
            read => read?,
        };
        let mut changes = DirectoryChanges::default();
        for InotifyEvent { wd, mask, .. } in events {
            // Lost events may be of any directory.
            let is_lost = mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            let is_new = is_lost || mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
            let numbers = (0..self.watches.len()).filter(|at| is_lost || self.watches[*at] == Some(wd));
            for number in numbers {
                changes.changed.insert(number);
                changes.appeared.extend(is_new.then_some(number));
            }
            changes.has_removals |= mask.contains(AddWatchFlags::IN_DELETE);
            if mask.contains(AddWatchFlags::IN_IGNORED) {
                self.left = self.left.saturating_sub(1);
            }
        }
        changes.is_end = self.left == 0;
        Ok(changes)
    }
}

/// Watches log directories; returns `None` if none of them exists.
pub(super) fn watch_directories<'a>(
    dirs: impl Iterator<Item = &'a Path>,
) -> anyhow::Result<Option<DirectoryWatch>> {
    let events = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE;
    let inotify =
        Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("cannot watch files")?;
    let mut watches: Vec<Option<WatchDescriptor>> = Vec::new();
    let mut left = 0;
    for dir in dirs {
        let watch = match inotify.add_watch(dir, events) {
            Ok(watch) => Some(watch),
            Err(Errno::ENOENT) => None,
            Err(err) => return Err(err).with_context(|| format!("cannot watch '{}'", dir.display())),
        };
        // One directory may be named twice.
        left += usize::from(watch.is_some() && !watches.contains(&watch));
        watches.push(watch);
    }
    Ok((left > 0).then_some(DirectoryWatch { inotify, watches, left }))
}

/// The name of an instance that has a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogName {
    kind: ProcessName,
    number: u32,
}

impl LogName {
    /// Returns true if `only` names this instance or its process type.
    pub(super) fn matches(&self, only: &str) -> bool {
        only == self.kind.as_str() || only == self.to_string()
    }
}

impl std::fmt::Display for LogName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.kind, self.number)
    }
}

/// Lists the instances that have a log, sorted.
pub(super) fn list_instances(dir: &AppDir) -> io::Result<Vec<LogName>> {
    let mut names = Vec::new();
    for file in list_files(dir)? {
        // Right after a rotation only the numbered files exist: `web.1.log.1`.
        let Some((name, rotation)) = file.rsplit_once(".log") else { continue };
        let is_age = |age: &str| age.parse::<u32>().is_ok();
        if !rotation.is_empty() && !rotation.strip_prefix('.').is_some_and(is_age) {
            continue;
        }
        let parsed = name.rsplit_once('.').and_then(|(kind, number)| {
            Some(LogName { kind: kind.parse().ok()?, number: number.parse().ok()? })
        });
        names.extend(parsed);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Lists the numbers of the deploys that have a log, ascending.
pub(super) fn list_deploys(dir: &AppDir) -> io::Result<Vec<u64>> {
    let number = |file: String| file.strip_prefix("deploy-")?.strip_suffix(".log")?.parse().ok();
    let mut numbers: Vec<u64> = list_files(dir)?.into_iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn list_files(dir: &AppDir) -> io::Result<Vec<String>> {
    match fs::read_dir(dir.log()) {
        Ok(entries) => {
            let name =
                |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok());
            entries.filter_map(|entry| name(entry).transpose()).collect()
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(err),
    }
}

/// Returns whether the app has a log of this instance (`web.1`) or process type (`web`).
pub(crate) fn has_log_of(dir: &AppDir, only: &str) -> bool {
    list_instances(dir).is_ok_and(|names| names.iter().any(|name| name.matches(only)))
}
