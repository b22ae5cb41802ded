//! The store of compiled forms: one file for each key, in a directory of the tools that apps share.

#![expect(clippy::disallowed_methods, reason = "the store's own files, which no step sees")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use piku_files::atomic_file;
use piku_files::free_space::FreeSpace;
use piku_layout::clock;
use piku_release::layers::COMPILED;

/// The most bytes that the store keeps. Beyond that, those that were not used for the longest time are removed.
const MAX_SIZE: u64 = 256 << 20;
/// The most bytes that one build adds.
const MAX_ADDED: usize = 128 << 20;
/// The largest compiled form, in bytes.
pub(super) const LARGEST: u64 = 32 << 20;
/// Age from which on the date of a file is set to now when it is used, for the removal of unused ones.
const TOUCH_AGE: Duration = Duration::from_secs(24 * 3600);

/// The compiled forms that apps share.
pub(crate) struct CompiledStore {
    dir: PathBuf,
    /// Bytes that this build has added.
    added: AtomicUsize,
    /// False if the disk has no space for more.
    can_add: bool,
}

impl CompiledStore {
    /// Opens the store among the tools in this directory. Nothing is added to it if the disk would then have less than
    /// `reserve` bytes: the build itself needs them.
    pub(crate) fn open(tools: &Path, reserve: u64) -> Self {
        let least = reserve.saturating_add(MAX_SIZE);
        let can_add = FreeSpace::of(tools).is_ok_and(|free| free.bytes >= least);
        Self { dir: tools.join(COMPILED), added: AtomicUsize::new(0), can_add }
    }

    /// Returns whether this build may add more.
    pub(super) fn can_add(&self) -> bool {
        self.can_add && self.added.load(Ordering::Relaxed) < MAX_ADDED
    }

    /// Reads the compiled form of this key, and notes that it is used.
    pub(super) fn read(&self, key: &str) -> Option<Vec<u8>> {
        let file = File::open(self.dir.join(key)).ok()?;
        let stat = file.metadata().ok()?;
        let mut content = Vec::with_capacity(usize::try_from(stat.len().min(LARGEST)).ok()?);
        (&file).take(LARGEST).read_to_end(&mut content).ok()?;
        let now = SystemTime::now();
        let used = stat.modified().ok()?;
        if clock::is_ahead(used, now) || clock::age(used, now).is_some_and(|age| age > TOUCH_AGE) {
            let _ = file.set_modified(now);
        }
        Some(content)
    }

    /// Adds a compiled form, complete or not at all.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub(super) fn add(&self, key: &str, content: &[u8]) -> io::Result<()> {
        self.added.fetch_add(content.len(), Ordering::Relaxed);
        fs::create_dir_all(&self.dir)?;
        atomic_file::write_ordered(&self.dir.join(key), content, 0o600)
    }

    /// Removes what was not used for the longest time, if the store is too large after this build's additions.
    pub(super) fn trim(&self) {
        if self.added.load(Ordering::Relaxed) > 0 {
            trim_to(&self.dir, MAX_SIZE);
        }
    }
}

/// Removes the files that were not used for the longest time until those that stay have at most `most` bytes. Another build
/// may do the same.
fn trim_to(dir: &Path, most: u64) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let facts = |entry: fs::DirEntry| {
        let stat = entry.metadata().ok()?;
        Some((stat.modified().ok()?, stat.len(), entry.path()))
    };
    let mut files: Vec<_> = entries.filter_map(|entry| facts(entry.ok()?)).collect();
    files.sort();
    let mut size: u64 = files.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in files {
        if size <= most {
            return;
        }
        if fs::remove_file(path).is_ok() {
            size -= len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn set_age(path: &Path, days: u64) -> SystemTime {
        let date = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        File::open(path).unwrap().set_modified(date).unwrap();
        date
    }

    #[test]
    fn what_is_used_is_touched() {
        let tools = tempfile::tempdir().unwrap();
        let store = CompiledStore::open(tools.path(), 0);
        assert!(store.read("a").is_none());
        store.add("a", b"compiled").unwrap();
        let path = tools.path().join(COMPILED).join("a");
        let date = set_age(&path, 50);
        assert_eq!(store.read("a").unwrap(), b"compiled");
        let used = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(used > date + Duration::from_secs(49 * 24 * 3600));
        // Not at each use, for the sake of the disk.
        assert_eq!(store.read("a").unwrap(), b"compiled");
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), used);
        assert_eq!(names(&tools.path().join(COMPILED)), ["a"]);
    }

    #[test]
    fn the_store_is_limited() {
        let tools = tempfile::tempdir().unwrap();
        let store = CompiledStore::open(tools.path(), 0);
        let dir = tools.path().join(COMPILED);
        for (name, days) in [("a", 3), ("b", 9), ("c", 1), ("d", 5)] {
            store.add(name, &[0; 100]).unwrap();
            set_age(&dir.join(name), days);
        }
        trim_to(&dir, 400);
        assert_eq!(names(&dir).len(), 4);
        trim_to(&dir, 399);
        assert_eq!(names(&dir), ["a", "c", "d"]);
        trim_to(&dir, 150);
        assert_eq!(names(&dir), ["c"]);
        store.added.store(MAX_ADDED, Ordering::Relaxed);
        assert!(!store.can_add());
        // A disk without space for it.
        assert!(!CompiledStore::open(tools.path(), u64::MAX).can_add());
    }
}
