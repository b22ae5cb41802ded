//! A release that nothing runs any more keeps of its large files what differs from the live one: ten releases of a compiled program
//! need little more room than one. Who wants its tree has it made whole again first.
//!
//! `releases/N/delta/BASE/PATH` stands for `releases/N/app/PATH`: what it differs in from the release BASE, which is newer. It has the
//! date and the mode of the file, and takes its place only when it has been read back. Where both are there the file counts; so a
//! process that is killed between two steps has lost nothing. `delta/done` says that the whole tree was looked at.

mod codec;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use piku_build::release::{DELTA, Release, TREE};
use piku_files::{FileStat, TreeError, TreeFile, TreeHandle, WalkStep};
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
    let is_done = || TreeHandle::open(&home).is_ok_and(|home| home.is_file(DONE));
    if number >= base || is_done() || !closed(&old) || !closed(&live) {
        return Ok(0);
    }
    // Held by who runs a command in it.
    let folder = TreeHandle::open(&old)?;
    if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(0);
    }
    place::make(&home)?;
    let pair = FoldPair::open(dir, number, base)?;
    let mut saved = 0;
    for path in files(&pair.tree)? {
        saved += pair
            .fold(&path)
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
        let found = files(&TreeHandle::open(&home)?.subtree(base.to_string())?)?;
        if found.is_empty() {
            continue;
        }
        unfold(dir, base)?;
        let pair = FoldPair::open(dir, number, base)?;
        for path in found {
            pair.unfold(&path)
                .with_context(|| format!("cannot make release {number} whole: '{}'", path.display()))?;
        }
    }
    place::remove(&home)
}

/// Keeps the release's tree whole for as long as the file is open.
///
/// # Errors
/// When the release is not there.
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "a folder of piku's own"))]
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
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "a folder of piku's own"))]
fn bases(dir: &AppDir, number: u64) -> anyhow::Result<Vec<u64>> {
    let home = dir.release(number).join(DELTA);
    let entries = match fs::read_dir(&home) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read '{}'", home.display()))?,
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// The files of a tree, by their paths in it; no link is followed.
fn files(tree: &TreeHandle) -> Result<Vec<PathBuf>, TreeError> {
    let mut found = Vec::new();
    tree.walk::<TreeError>(|entry| {
        if entry.stat().is_file() {
            found.push(entry.path().to_owned());
        }
        Ok(WalkStep::Into)
    })?;
    Ok(found)
}

/// A release and a newer one that it may differ from.
struct FoldPair {
    /// The tree of the older one, and what it keeps of it in its place.
    tree: TreeHandle,
    home: TreeHandle,
    /// The tree of the newer one.
    base: TreeHandle,
    /// The number of the newer one.
    number: u64,
}

impl FoldPair {
    fn open(dir: &AppDir, number: u64, base: u64) -> Result<Self, TreeError> {
        let old = TreeHandle::open(&dir.release(number))?;
        let live = TreeHandle::open(&dir.release(base))?;
        Ok(Self {
            tree: old.subtree(TREE)?,
            home: old.subtree(DELTA)?,
            base: live.subtree(TREE)?,
            number: base,
        })
    }

    fn delta(&self, path: &Path) -> PathBuf {
        Path::new(&self.number.to_string()).join(path)
    }

    /// Opens the file that this one is stored as a difference from. Returns `None` if it does not exist, or is too small or too
    /// large for this.
    fn reference(&self, path: &Path) -> Option<TreeFile> {
        let file = self.base.open_file_nofollow(path).ok()?;
        SIZES.contains(&file.stat.len).then_some(file)
    }

    fn fold(&self, path: &Path) -> anyhow::Result<u64> {
        // A file that cannot be read stays.
        let Ok(mut file) = self.tree.open_file_nofollow(path) else { return Ok(0) };
        // What another release shares is not freed by its going here.
        if file.stat.links != 1 || !SIZES.contains(&file.stat.len) {
            return Ok(0);
        }
        let Some(mut reference) = self.reference(path) else { return Ok(0) };
        let content = file.read_bounded(*SIZES.end())?;
        let reference = reference.read_bounded(*SIZES.end())?;
        let delta = codec::encode(&content, &reference)?;
        if delta.len() > content.len() / 2 {
            return Ok(0);
        }
        // Nothing is given up that could not be had back.
        ensure!(
            codec::decode(&delta, &reference, content.len())? == content,
            "it does not come back as it was"
        );
        self.write(&self.home, &self.delta(path), &delta, &file.stat)?;
        match self.tree.remove_file(path) {
            // A folder that a build has closed.
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                self.home.remove_file(self.delta(path))?;
                Ok(0)
            }
            done => done.map(|()| (content.len() - delta.len()) as u64).map_err(Into::into),
        }
    }

    fn unfold(&self, path: &Path) -> anyhow::Result<()> {
        let place = self.delta(path);
        if self.tree.find(path)?.is_none() {
            let mut delta = self.home.open_file_nofollow(&place)?;
            let mut reference = self.reference(path).context("the file that it differs from is gone")?;
            let content = codec::decode(
                &delta.read_bounded(*SIZES.end())?,
                &reference.read_bounded(*SIZES.end())?,
                usize::try_from(*SIZES.end())?,
            )?;
            self.write(&self.tree, path, &content, &delta.stat)?;
        }
        Ok(self.home.remove_file(place)?)
    }

    /// Writes a file that is whole and on the disk or not there, with the mode and the date of another.
    fn write(&self, to: &TreeHandle, path: &Path, content: &[u8], like: &FileStat) -> anyhow::Result<()> {
        let folder = path.parent().context("it has no folder")?;
        make(to, folder)?;
        let aside = format!("{ASIDE}.{}", std::process::id());
        let written = (|| {
            self.home.write(&aside, content, like.mode & 0o777)?;
            self.home.set_modified(&aside, like.modified)?;
            self.home.sync(&aside)?;
            self.home.rename(&aside, to, path)?;
            to.sync(folder)
        })();
        if written.is_err() {
            // The first error is the one to tell.
            let _ = self.home.remove_file(&aside);
        }
        Ok(written?)
    }
}

/// Makes a folder and those above it, each on the disk before what is in it.
fn make(tree: &TreeHandle, folder: &Path) -> Result<(), TreeError> {
    if folder.as_os_str().is_empty() || tree.is_dir(folder) {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    make(tree, parent)?;
    tree.create_dir_all(folder)?;
    tree.sync(parent)
}
