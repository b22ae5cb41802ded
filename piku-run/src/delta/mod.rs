//! A release that nothing runs any more keeps of its large files what differs from the live one: ten releases of a compiled program
//! need little more room than one. Who wants its tree has it made whole again first.
//!
//! `releases/N/delta/BASE/PATH` stands for `releases/N/app/PATH`: what it differs in from the release BASE, which is newer. It has the
//! date and the mode of the file, and takes its place only when it has been read back. Where both are there the file counts; so a
//! process that is killed between two steps has lost nothing. `delta/done` says that the whole tree was looked at.

mod codec;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use piku_build::release::{DELTA, Release, TREE};
use piku_procfile::durable;
use piku_procfile::layout::AppDir;
use rustix::fs::{FlockOperation, flock};

use crate::place;

/// Smaller files are not worth it; larger ones would take too much memory on a small machine.
const SIZES: std::ops::RangeInclusive<u64> = 64 * 1024..=32 * 1024 * 1024;
/// Says that the whole tree was looked at.
const DONE: &str = "done";
/// A file in the making, in `delta/`.
const ASIDE: &str = ".aside";

/// Keeps of this release what differs from the `base`. How many bytes less it takes. For who keeps all others out that make or
/// remove releases; no process runs the release.
///
/// # Errors
/// When a file cannot be read or written; what was there is still there.
pub(crate) fn fold(dir: &AppDir, number: u64, base: u64) -> anyhow::Result<u64> {
    let (old, live) = (dir.release(number), dir.release(base));
    let home = old.join(DELTA);
    // An app may write to a release of its own where there is no jail.
    let closed = |folder: &Path| Release::read(folder).is_ok_and(|release| release.jailed);
    if number >= base || home.join(DONE).exists() || !closed(&old) || !closed(&live) {
        return Ok(0);
    }
    // Held by who runs a command in it.
    let folder = File::open(&old).with_context(|| format!("cannot open '{}'", old.display()))?;
    if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(0);
    }
    place::make(&home)?;
    let mut found = Vec::new();
    files(&old.join(TREE), Path::new(""), &mut found)?;
    let mut saved = 0;
    for path in found {
        saved += Pair { old: &old, base: &live, number: base, path: &path }
            .fold()
            .with_context(|| format!("cannot make release {number} smaller: '{}'", path.display()))?;
    }
    durable::write(&home.join(DONE), b"", 0o600)
        .with_context(|| format!("cannot write '{}'", home.join(DONE).display()))?;
    Ok(saved)
}

/// Makes the release's tree whole again.
///
/// # Errors
/// When that cannot be done: the disk is full, or a release that it differs from is gone or damaged. What was there is still
/// there.
pub(crate) fn unfold(dir: &AppDir, number: u64) -> anyhow::Result<()> {
    let home = dir.release(number).join(DELTA);
    for base in bases(dir, number)? {
        // What a release differs from is always a newer one, so this ends.
        ensure!(base > number, "release {number} cannot differ from the older release {base}");
        let folder = home.join(base.to_string());
        let mut found = Vec::new();
        files(&folder, Path::new(""), &mut found)?;
        if !found.is_empty() {
            unfold(dir, base)?;
        }
        for path in found {
            Pair { old: &dir.release(number), base: &dir.release(base), number: base, path: &path }
                .unfold()
                .with_context(|| format!("cannot make release {number} whole: '{}'", path.display()))?;
        }
    }
    place::remove(&home)
}

/// Keeps the release's tree whole for as long as the file is open.
///
/// # Errors
/// When the release is not there.
pub(crate) fn hold(dir: &AppDir, number: u64) -> anyhow::Result<File> {
    let path = dir.release(number);
    let folder = File::open(&path).with_context(|| format!("cannot open '{}'", path.display()))?;
    flock(&folder, FlockOperation::LockShared)
        .with_context(|| format!("cannot lock '{}'", path.display()))?;
    Ok(folder)
}

/// Before the release goes: those that differ from it are made whole.
///
/// # Errors
/// As [`unfold`].
pub(crate) fn release(dir: &AppDir, base: u64) -> anyhow::Result<()> {
    let numbers = dir.release_numbers().context("cannot list the releases")?;
    for number in numbers.into_iter().filter(|number| *number < base) {
        if bases(dir, number)?.contains(&base) {
            unfold(dir, number)?;
        }
    }
    Ok(())
}

/// The releases that this one differs from.
fn bases(dir: &AppDir, number: u64) -> anyhow::Result<Vec<u64>> {
    let home = dir.release(number).join(DELTA);
    let entries = match fs::read_dir(&home) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read '{}'", home.display()))?,
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// The files below a folder, by their paths in it; no link is followed.
fn files(top: &Path, below: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let folder = top.join(below);
    let cannot = || format!("cannot read '{}'", folder.display());
    for entry in fs::read_dir(&folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let path = below.join(entry.file_name());
        match entry.file_type().with_context(cannot)? {
            kind if kind.is_dir() => files(top, &path, found)?,
            kind if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// A file in two releases.
struct Pair<'a> {
    old: &'a Path,
    base: &'a Path,
    /// The number of the base.
    number: u64,
    path: &'a Path,
}

impl Pair<'_> {
    fn file(&self) -> PathBuf {
        self.old.join(TREE).join(self.path)
    }

    fn delta(&self) -> PathBuf {
        self.old.join(DELTA).join(self.number.to_string()).join(self.path)
    }

    /// The file that it differs from; nothing when that is none, or lies behind a link.
    fn reference(&self) -> Option<PathBuf> {
        let tree = fs::canonicalize(self.base.join(TREE)).ok()?;
        let file = tree.join(self.path);
        let real = fs::canonicalize(&file).is_ok_and(|real| real == file);
        (real && file.is_file()).then_some(file)
    }

    fn fold(&self) -> anyhow::Result<u64> {
        let file = self.file();
        let meta = fs::symlink_metadata(&file)?;
        let Some(reference) = self.reference() else { return Ok(0) };
        // What another release shares is not freed by its going here.
        let worth = meta.nlink() == 1 && SIZES.contains(&meta.len());
        if !worth || !SIZES.contains(&fs::metadata(&reference)?.len()) {
            return Ok(0);
        }
        let (content, reference) = (fs::read(&file)?, fs::read(reference)?);
        let delta = codec::encode(&content, &reference)?;
        if delta.len() > content.len() / 2 {
            return Ok(0);
        }
        // Nothing is given up that could not be had back.
        ensure!(
            codec::decode(&delta, &reference, content.len())? == content,
            "it does not come back as it was"
        );
        self.write(&self.delta(), &delta, &meta)?;
        match fs::remove_file(&file) {
            // A folder that a build has closed.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                fs::remove_file(self.delta())?;
                Ok(0)
            }
            done => done.map(|()| (content.len() - delta.len()) as u64).map_err(Into::into),
        }
    }

    fn unfold(&self) -> anyhow::Result<()> {
        let (file, delta) = (self.file(), self.delta());
        if fs::symlink_metadata(&file).is_err() {
            let (meta, content) = (fs::metadata(&delta)?, fs::read(&delta)?);
            let reference = self.reference().context("the file that it differs from is gone")?;
            let most = usize::try_from(*SIZES.end())?;
            self.write(&file, &codec::decode(&content, &fs::read(reference)?, most)?, &meta)?;
        }
        place::remove(&delta)
    }

    /// Writes a file that is whole or not there, with the mode and the date of another.
    fn write(&self, to: &Path, content: &[u8], like: &Metadata) -> anyhow::Result<()> {
        let home = self.old.join(DELTA);
        let folder = to.parent().context("it has no folder")?;
        make(folder)?;
        let aside = home.join(format!("{ASIDE}.{}", std::process::id()));
        let written = (|| {
            fs::write(&aside, content)?;
            let file = File::open(&aside)?;
            file.set_permissions(Permissions::from_mode(like.permissions().mode() & 0o7777))?;
            file.set_modified(like.modified()?)?;
            file.sync_all()?;
            fs::rename(&aside, to)?;
            durable::sync_parent(to)
        })();
        if written.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&aside);
        }
        Ok(written?)
    }
}

/// Makes a folder and those above it, each on the disk before what is in it.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make(parent)?;
    }
    match fs::create_dir(folder) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| durable::sync_parent(folder)),
    }
}
