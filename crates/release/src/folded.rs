//! Releases that an older piku has folded: of their large files they keep what differs from a newer release.
//! Nothing folds any more; a caller that needs the tree of such a release unfolds it first.
//!
//! `releases/N/delta/BASE/PATH` stands for `releases/N/app/PATH`: a zstd frame that refers to that file of
//! the release BASE, with the date and the mode of the file. Where both are there the file counts; so a
//! process that is killed between two steps has lost nothing.

#[cfg(test)]
mod tests;

use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use piku_files::{FileLock, TreeError, TreeHandle, WalkStep, remove_all};
use piku_layout::paths::AppDir;
use zstd::Decoder;

use crate::manifest::TREE;

/// The folder of the differences, in a release's folder.
const DELTA: &str = "delta";
/// Maximum size of a folded file. Memory holds twice as much: the referenced file and the window of the
/// frame.
const LARGEST: u64 = 32 * 1024 * 1024;
/// The bits of the largest window.
const WINDOW_LOG: u32 = 26;

/// Returns whether files of the release in this folder are not in its tree.
#[must_use]
pub fn is_folded(release: &Path) -> bool {
    !bases(release).unwrap_or_default().is_empty()
}

/// Restores the tree of a release, and of each release that it refers to.
///
/// # Errors
/// Fails if the disk is full, or a release that it refers to is missing or damaged. What
/// was there is still there.
pub fn unfold(dir: &AppDir, number: u64) -> anyhow::Result<()> {
    let folder = dir.release(number);
    if !is_folded(&folder) {
        return Ok(());
    }
    let home = TreeHandle::open(&folder)?.subtree(DELTA)?;
    let _lock =
        FileLock::exclusive(&home).with_context(|| format!("cannot lock '{}'", home.path().display()))?;
    // Another process may have restored it meanwhile.
    for base in bases(&folder)? {
        // A release only refers to newer ones, so the recursion ends.
        ensure!(base > number, "release {number} cannot differ from the older release {base}");
        let frames = home.subtree(base.to_string())?;
        let found = files(&frames)?;
        if found.is_empty() {
            continue;
        }
        unfold(dir, base)?;
        let release = TreeHandle::open(&folder)?;
        let base = TreeHandle::open(&dir.release(base))?.subtree(TREE)?;
        for path in found {
            unfold_file(&release, &frames, &base, &path)
                .with_context(|| format!("cannot make release {number} whole: '{}'", path.display()))?;
        }
    }
    remove_all(home.path()).with_context(|| format!("cannot remove '{}'", home.path().display()))
}

/// Restores the releases that refer to `base` before it is removed.
///
/// # Errors
/// As [`unfold`].
pub fn unfold_dependents(dir: &AppDir, base: u64) -> anyhow::Result<()> {
    let numbers = dir.release_numbers().context("cannot list the releases")?;
    for number in numbers.into_iter().filter(|number| *number < base) {
        if bases(&dir.release(number))?.contains(&base) {
            unfold(dir, number)?;
        }
    }
    Ok(())
}

/// Lists the releases that the one in this folder differs from.
fn bases(release: &Path) -> Result<Vec<u64>, TreeError> {
    let names = TreeHandle::open_following(release).and_then(|release| release.subtree(DELTA)?.read_dir(""));
    let names = match names {
        Err(err) if err.is_missing() => return Ok(Vec::new()),
        names => names?,
    };
    Ok(names.into_iter().filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
}

/// Lists the files of a tree, by their paths in it; no link is followed.
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

/// Restores one file of `release`, completely or not at all.
fn unfold_file(
    release: &TreeHandle,
    frames: &TreeHandle,
    base: &TreeHandle,
    path: &Path,
) -> anyhow::Result<()> {
    let tree = release.subtree(TREE)?;
    if tree.find(path)?.is_some() {
        return Ok(());
    }
    let frame = frames.open_file_nofollow(path)?;
    let mut reference = base.open_file_nofollow(path).context("the file that it differs from is gone")?;
    let reference = reference.read_bounded(LARGEST)?;
    // As everything that a process leaves which is killed: see `is_of_the_dead` in piku-run.
    let aside = format!(".unfolded.{}", std::process::id());
    if release.find(&aside)?.is_some() {
        release.remove_file(&aside)?;
    }
    let written = (|| -> anyhow::Result<()> {
        let mut file = release.create_file(&aside, 0o600)?;
        decode(&frame.file, &reference, &mut file)?;
        file.set_permissions(Permissions::from_mode(frame.stat.mode & 0o777))?;
        file.set_modified(frame.stat.modified)?;
        file.sync_all()?;
        release.rename(&aside, &tree, path)?;
        Ok(tree.sync(path.parent().unwrap_or(Path::new("")))?)
    })();
    if written.is_err() {
        // Report the first error.
        let _ = release.remove_file(&aside);
    }
    written
}

/// Writes the file that a frame stands for. With a wrong reference the checksum of the frame does not match.
fn decode(frame: &File, reference: &[u8], to: &mut File) -> anyhow::Result<()> {
    let mut decoder = Decoder::with_ref_prefix(io::BufReader::new(frame), reference)?;
    decoder.window_log_max(WINDOW_LOG)?;
    let written = io::copy(&mut decoder.take(LARGEST + 1), to)?;
    ensure!(written <= LARGEST, "it is larger than it may be");
    Ok(())
}
