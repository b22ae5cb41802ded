//! The layers of releases on disk. `LAYERS/KEY/content/` is a layer and `LAYERS/KEY/complete` its marker,
//! which is written last. A build holds a kernel lock on the directory `KEY` while it writes or uses the
//! layer.

#![expect(clippy::disallowed_methods, reason = "the store's own folders, markers and locks")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use piku_files::FileLock;
use piku_layout::clock;

use crate::removals;

/// Name of the file that marks a layer as complete.
pub const COMPLETE: &str = "complete";
/// Directory of the layer's files.
pub const CONTENT: &str = "content";
/// Directory in the cache with the layers of tools that build other layers.
pub const TOOLS: &str = "tools";
/// Directory in the store of tools that apps share with compiled packages, one file for each key.
pub const COMPILED: &str = "compiled";

/// Returns whether the text is the key of a layer: a SHA-256 in hex, which can be a folder's name.
#[must_use]
pub fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Opens a layer's directory to lock it; `None` if it is gone: removed after its build failed, or unused.
///
/// # Errors
/// Fails if the folder cannot be opened.
pub fn open_layer(dir: &Path) -> io::Result<Option<File>> {
    match File::open(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Lists the layers in a directory that are not `needed`, sorted, with unfinished ones. A missing directory
/// has no layers.
///
/// # Errors
/// Fails if the folder cannot be read.
pub fn list_unused(dir: &Path, needed: &BTreeSet<String>) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(err),
    };
    let mut unused = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && !name.starts_with('.') && !needed.contains(&name) {
            unused.push(entry.path());
        }
    }
    unused.sort();
    Ok(unused)
}

/// Lists the layers in a directory that were not used for longer than `time`, sorted, with unfinished ones.
///
/// # Errors
/// Fails if the folder cannot be read.
pub fn list_unused_for(dir: &Path, time: Duration) -> io::Result<Vec<PathBuf>> {
    let mut layers = list_unused(dir, &BTreeSet::new())?;
    layers.retain(|layer| is_unused_for(&layer.join(COMPLETE), time));
    Ok(layers)
}

/// Lists the files in a directory that were not used for longer than `time`, sorted. A missing directory has no files.
///
/// # Errors
/// Fails if the folder cannot be read, or is a link: the files that it leads to are not those of a store.
pub fn list_unused_files_for(dir: &Path, time: Duration) -> io::Result<Vec<PathBuf>> {
    match fs::symlink_metadata(dir) {
        Ok(stat) if stat.is_dir() => {}
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(err),
    }
    let entries = fs::read_dir(dir)?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| is_unused_for(file, time));
    files.sort();
    Ok(files)
}

/// Returns whether the date of a file, which is set at each use, is longer ago than `time`, or there is no such file.
fn is_unused_for(file: &Path, time: Duration) -> bool {
    let used = fs::metadata(file).and_then(|stat| stat.modified());
    used.map_or(true, |used| {
        let now = SystemTime::now();
        if clock::is_ahead(used, now) {
            // It was used when the clock was wrong. Its time begins now; where that cannot be noted, the
            // next time.
            let _ = File::open(file).and_then(|file| file.set_modified(now));
        }
        clock::age(used, now).is_some_and(|age| age > time)
    })
}

/// Renames a layer so that no build finds it, and returns its new path, which the caller removes; `None` if a
/// build uses the layer or it is gone.
///
/// # Errors
/// Fails if it cannot be locked or renamed.
pub fn withdraw_layer(layer: &Path) -> io::Result<Option<PathBuf>> {
    let Some(folder) = open_layer(layer)? else { return Ok(None) };
    let Some(lock) = FileLock::try_exclusive(folder)? else { return Ok(None) };
    if !is_same_folder(&lock, layer) {
        return Ok(None);
    }
    Ok(Some(removals::withdraw(layer)?))
}

/// Returns whether `dir` still is the directory that was locked.
#[must_use]
pub fn is_same_folder(lock: &File, dir: &Path) -> bool {
    match (lock.metadata(), fs::metadata(dir)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}
