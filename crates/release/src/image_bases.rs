//! Bases of container images, which are made of the distribution's packages and kept: `BASES/KEY` has a layer and
//! its description, whose date is that of the last use.
//!
//! A lock on `BASES` is held while one is made or removed. Readers of a base keep its file open instead, so that a
//! base may be removed at any time.

#![expect(clippy::disallowed_methods, reason = "the directory of the bases, which is piku's own")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use piku_files::{FileLock, remove_all};
use piku_layout::clock;

use crate::layers::is_key;

/// Name of the layer in the directory of a base.
pub const LAYER: &str = "layer.tar";
/// Name of the description, which is written last.
pub const DESCRIPTION: &str = "base.json";
/// Time for which an unused base is kept.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Extensions of the names of bases that are being made and removed.
const UNFINISHED: &str = "new";
const GONE: &str = "gone";

/// Lock that keeps others from making and removing bases.
pub type BasesLock = FileLock<File>;

/// A base on the disk.
struct StoredBase {
    dir: PathBuf,
    /// Size of the layer.
    bytes: u64,
    /// Time of the last use.
    used: SystemTime,
}

/// Locks the bases; `None` if another process does.
///
/// # Errors
/// Fails if the directory cannot be opened.
pub fn try_lock(bases: &Path) -> io::Result<Option<BasesLock>> {
    // A pipe in its place would be waited for.
    if !fs::metadata(bases)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    FileLock::try_exclusive(File::open(bases)?)
}

/// Makes an empty directory in which a base is made. The caller holds the lock.
///
/// # Errors
/// Fails if it cannot be made.
pub fn begin(dir: &Path) -> anyhow::Result<PathBuf> {
    let aside = dir.with_extension(UNFINISHED);
    remove_all(&aside).with_context(|| format!("cannot remove '{}'", aside.display()))?;
    fs::create_dir(&aside).with_context(|| format!("cannot make '{}'", aside.display()))?;
    Ok(aside)
}

/// Returns whether the base exists.
#[must_use]
pub fn is_complete(dir: &Path) -> bool {
    dir.join(DESCRIPTION).is_file()
}

/// Notes that the base is in use. Where it cannot be noted, the base may be made again.
pub fn note_use(dir: &Path) {
    let _ = File::open(dir.join(DESCRIPTION)).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Removes a base. One that is only half removed is taken for none.
///
/// # Errors
/// Fails if it cannot be renamed or removed.
pub fn remove(dir: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot remove '{}'", dir.display());
    if dir.extension().is_some() {
        return remove_all(dir).with_context(cannot);
    }
    let gone = dir.with_extension(GONE);
    remove_all(&gone).with_context(cannot)?;
    match fs::rename(dir, &gone) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.and_then(|()| remove_all(&gone)).with_context(cannot),
    }
}

/// Lists what is not needed: bases that were not used for long, the least recently used ones while all have more than
/// `limit` bytes, and what ended processes left. `ours` are in use. The base that was used last is kept
/// whatever its size: each deploy would make it again. The caller holds the lock.
///
/// The directory may be the operator's, with other things in it, which are left alone.
///
/// # Errors
/// Fails if the directory cannot be read.
pub fn list_unneeded(bases: &Path, limit: u64, ours: &[&Path]) -> io::Result<Vec<PathBuf>> {
    let now = SystemTime::now();
    let entries = match fs::read_dir(bases) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let (mut unneeded, mut kept, mut bytes, mut has_last) = (Vec::new(), Vec::new(), 0_u64, false);
    for entry in entries {
        let dir = entry?.path();
        if !is_of_bases(&dir) {
            continue;
        }
        let is_ours = ours.contains(&dir.as_path());
        match StoredBase::read(&dir) {
            Some(base) if is_ours => (bytes, has_last) = (bytes.saturating_add(base.bytes), true),
            Some(base) if clock::age(base.used, now).is_none_or(|age| age <= KEPT) => kept.push(base),
            _ if is_ours => {}
            _ => unneeded.push(dir),
        }
    }
    // The last used ones first.
    kept.sort_by(|one, other| (other.used, &one.dir).cmp(&(one.used, &other.dir)));
    for base in kept {
        bytes = bytes.saturating_add(base.bytes);
        if bytes > limit && has_last {
            unneeded.push(base.dir);
        }
        has_last = true;
    }
    unneeded.sort();
    Ok(unneeded)
}

/// Returns whether the path is that of a base, or of one that was being made or removed.
fn is_of_bases(path: &Path) -> bool {
    let is_named = path.file_stem().and_then(|name| name.to_str()).is_some_and(is_key);
    match path.extension() {
        // A base gets its name when it is whole: a directory without its files is something else.
        None => is_named && [LAYER, DESCRIPTION].iter().any(|file| path.join(file).is_file()),
        Some(extension) => is_named && (extension == UNFINISHED || extension == GONE),
    }
}

impl StoredBase {
    /// Reads the facts about a base; `None` if it is not whole.
    fn read(dir: &Path) -> Option<Self> {
        let is_whole = dir.extension().is_none();
        let used = fs::symlink_metadata(dir.join(DESCRIPTION)).and_then(|file| file.modified());
        let bytes = fs::symlink_metadata(dir.join(LAYER)).map(|file| file.len());
        Some(Self { dir: dir.to_owned(), bytes: bytes.ok()?, used: used.ok().filter(|_| is_whole)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(bases: &Path, name: &str, days: u64) -> PathBuf {
        let dir = bases.join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(LAYER), [0; 100]).unwrap();
        let file = File::create(dir.join(DESCRIPTION)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 24 * 3600)).unwrap();
        dir
    }

    #[test]
    fn bases_that_were_used_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let bases = dir.path();
        assert!(list_unneeded(&bases.join("none"), 0, &[]).unwrap().is_empty());
        let key = |name: &str| name.repeat(64);
        let [new, used, older, oldest] =
            [("a", 1), ("b", 2), ("c", 3), ("d", 91)].map(|(name, days)| make(bases, &key(name), days));
        let half = bases.join(key("e") + ".new");
        fs::create_dir(&half).unwrap();
        make(bases, &(key("f") + ".gone"), 0);
        // What the operator has there, and a layer of a build.
        fs::write(bases.join("notes.txt"), "x").unwrap();
        make(bases, "own", 100);
        make(bases, "own.new", 100);
        fs::create_dir_all(bases.join(key("0")).join("content")).unwrap();
        let names = |limit: u64, ours: &[&Path]| -> Vec<String> {
            let found = list_unneeded(bases, limit, ours).unwrap().into_iter();
            let found = found.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
            found.map(|name| name[..1].to_owned() + &name[64..]).collect()
        };
        assert_eq!(names(1000, &[]), ["d", "e.new", "f.gone"]);
        assert_eq!(names(299, &[]), ["c", "d", "e.new", "f.gone"]);
        assert_eq!(names(200, &[&oldest]), ["b", "c", "e.new", "f.gone"]);
        assert_eq!(names(0, &[&used]), ["a", "c", "d", "e.new", "f.gone"]);
        assert_eq!(names(0, &[&used, &older]), ["a", "d", "e.new", "f.gone"]);
        // One that is larger than all may be.
        assert_eq!(names(99, &[]), ["b", "c", "d", "e.new", "f.gone"]);
        // One that has lost its layer is none.
        fs::remove_file(older.join(LAYER)).unwrap();
        assert_eq!(names(1000, &[]), ["c", "d", "e.new", "f.gone"]);
        note_use(&oldest);
        for path in [&new, &half, &oldest, &bases.join("none")] {
            remove(path).unwrap();
        }
        assert_eq!(names(1000, &[]), ["c", "f.gone"]);
        assert!(is_complete(&used) && !is_complete(&new));
        let lock = try_lock(bases).unwrap().unwrap();
        assert!(try_lock(bases).unwrap().is_none());
        lock.unlock().unwrap();
    }
}
