//! The logs of an app: their names in its log directory, which may be watched for changes.

#![expect(clippy::disallowed_methods, reason = "the log directory, which only piku writes")]

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use piku_layout::name::ProcessName;
use piku_layout::paths::AppDir;

/// A watch on log directories.
#[derive(Debug)]
pub(super) struct DirectoryWatch {
    pub(super) inotify: Inotify,
    /// Number of directories that are watched and not removed.
    pub(super) count: usize,
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
    let mut watched: Vec<WatchDescriptor> = Vec::new();
    for dir in dirs {
        match inotify.add_watch(dir, events) {
            // One directory may be named twice.
            Ok(watch) if watched.contains(&watch) => {}
            Ok(watch) => watched.push(watch),
            Err(Errno::ENOENT) => {}
            Err(err) => return Err(err).with_context(|| format!("cannot watch '{}'", dir.display())),
        }
    }
    Ok((!watched.is_empty()).then_some(DirectoryWatch { inotify, count: watched.len() }))
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
