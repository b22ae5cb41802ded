//! `rollback APP [N]`: a new release with the tree of an old one, through the same health check as any deploy.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use piku_build::release::{Release, TREE};
use piku_procfile::failure::Failure;
use piku_procfile::layout::{AppDir, Root};
use piku_procfile::name::AppName;
use rustix::fs::{FlockOperation, flock};

use crate::protocol::Request;
use crate::{client, place};

/// What the folder of a rollback under way is called, with something random behind.
const ASIDE: &str = ".rollback.";

pub(super) fn run(root: &Root, app: &AppName, number: Option<u64>) -> anyhow::Result<()> {
    super::must_be_there(root, app)?;
    let dir = root.app(app);
    let number = choose(app, &dir, number)?;
    tidy(&dir)?;
    let work = tempfile::Builder::new()
        .prefix(ASIDE)
        .tempdir_in(dir.path())
        .with_context(|| format!("cannot make a folder in '{}'", dir.path().display()))?;
    // Whoever tidies up sees that somebody is at work here.
    let folder = File::open(work.path()).context("cannot open it")?;
    flock(&folder, FlockOperation::LockExclusive).context("cannot lock it")?;

    let old = dir.release(number);
    let mut release = Release::read(&old)?;
    release.number = dir.next_number().context("cannot number the release")?;
    release.at = jiff::Timestamp::now();
    release.by = std::env::var("PIKU_KEY").unwrap_or_default();
    let new = work.path().join("release");
    place::make(&new)?;
    // In a jail nobody can write to a release, so the old and the new one can share their files.
    copy(&old.join(TREE), &new.join(TREE), release.jailed)?;
    release.write(&new)?;
    nix::unistd::syncfs(&folder).context("cannot sync the disk")?;
    client::step(&format!("Rolling back to release {number}, as release {}", release.number));
    client::ask(root, app, &Request::Deploy { dir: new, task: false })?;
    Ok(())
}

/// The release to go back to.
fn choose(app: &AppName, dir: &AppDir, number: Option<u64>) -> anyhow::Result<u64> {
    let all = dir.release_numbers().context("cannot list the releases")?;
    let live = place::live(dir)?;
    let live = live.ok_or_else(|| Failure::new(format!("{app} has no release yet")).hint("push it first"))?;
    match number {
        Some(number) if all.contains(&number) => Ok(number),
        Some(number) => {
            let kept: Vec<String> = all.iter().map(u64::to_string).collect();
            let what = format!("{app} has no release {number}");
            Err(Failure::new(what).hint(format!("it has: {}", kept.join(", "))).into())
        }
        None => {
            let before = all.into_iter().rfind(|number| *number < live);
            before.ok_or_else(|| Failure::new(format!("{app} has no release before {live}")).into())
        }
    }
}

/// Removes what a rollback that was killed has left.
fn tidy(dir: &AppDir) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir.path()).context("cannot list the app's folder")? {
        let path = entry?.path();
        let is_aside = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE));
        let is_free = || {
            File::open(&path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
        };
        if is_aside && is_free() {
            place::remove(&path)?;
        }
    }
    Ok(())
}

/// The same tree again; with `link` its files are the same files.
fn copy(from: &Path, to: &Path, link: bool) -> anyhow::Result<()> {
    let cannot = || format!("cannot copy '{}' to '{}'", from.display(), to.display());
    let metadata = fs::symlink_metadata(from).with_context(cannot)?;
    if metadata.is_symlink() {
        let target = fs::read_link(from).with_context(cannot)?;
        return std::os::unix::fs::symlink(target, to).with_context(cannot);
    }
    if !metadata.is_dir() {
        ensure!(metadata.is_file(), "'{}' is neither a file nor a folder nor a link", from.display());
        return if link { fs::hard_link(from, to) } else { fs::copy(from, to).map(drop) }
            .with_context(cannot);
    }
    fs::create_dir(to).with_context(cannot)?;
    for entry in fs::read_dir(from).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        copy(&entry.path(), &to.join(entry.file_name()), link)?;
    }
    // Last: the folder may be read-only.
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.permissions().mode())).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_tree_is_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("a");
        fs::create_dir_all(from.join("locked")).unwrap();
        fs::write(from.join("locked/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("locked/run"), fs::Permissions::from_mode(0o751)).unwrap();
        fs::set_permissions(from.join("locked"), fs::Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink("/nowhere", from.join("link")).unwrap();
        for (link, same) in [(true, true), (false, false)] {
            let to = dir.path().join(format!("b{link}"));
            copy(&from, &to, link).unwrap();
            let (old, new) = (from.join("locked/run"), to.join("locked/run"));
            let (old, new) = (fs::metadata(old).unwrap(), fs::metadata(new).unwrap());
            assert_eq!(old.ino() == new.ino(), same);
            assert_eq!(new.mode() & 0o777, 0o751);
            assert_eq!(fs::metadata(to.join("locked")).unwrap().mode() & 0o777, 0o555);
            assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
            place::remove(&to).unwrap();
        }
        place::remove(&from).unwrap();
    }
}
