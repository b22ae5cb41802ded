//! Folders in `scratch` that killed processes have left. The next start of the app removes them; an app that does
//! not start keeps them until the garbage is collected.

#![expect(
    clippy::disallowed_methods,
    reason = "locks in the app's scratch directory, which only piku writes"
)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use piku_chroot::jail::JailSpec;
use piku_files::{FileKind, FileLock};
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::{AppUsers, HostSettings};

use super::entries;
use crate::instance::environment::{AppIsolation, CommandOptions, ProcessRole, ReleaseContext};
use crate::releases::current;

/// Lock in the scratch directory, held while folders are made, and in each folder, held as long as its process.
const LOCK: &str = "lock";
/// Command of a jail that only has to be made: that removes what killed jails have left.
const NOTHING: &str = "true";

/// Finds the folders of processes that have ended.
pub(super) fn find_abandoned(dir: &AppDir) -> Vec<PathBuf> {
    let scratch = dir.scratch();
    let common = File::options().write(true).open(scratch.join(LOCK)).map(FileLock::try_exclusive);
    // A process is just being started.
    let Ok(Ok(Some(_common))) = common else { return Vec::new() };
    let folders = entries(&scratch).into_iter().filter(|found| found.kind == FileKind::Folder);
    folders.map(|found| found.path).filter(|path| is_abandoned(path)).collect()
}

/// Returns whether no process uses a folder. One without a lock was left while it was made or removed.
fn is_abandoned(folder: &Path) -> bool {
    match File::options().write(true).open(folder.join(LOCK)) {
        Ok(file) => FileLock::try_exclusive(file).is_ok_and(|lock| lock.is_some()),
        Err(_) => true,
    }
}

/// Waits until no process removes the folder of an ended one in the background, at most five seconds.
pub(crate) fn wait_for_removals(dir: &AppDir) {
    let is_removed = |scratch: &Path| {
        let mut folders = entries(scratch).into_iter().filter(|found| found.kind == FileKind::Folder);
        folders.all(|found| is_abandoned(&found.path))
    };
    for _ in 0..500 {
        if is_removed(&dir.scratch()) {
            return;
        }
        sleep(Duration::from_millis(10));
    }
}

/// Removes the folders of processes that have ended, after moving to the data what belongs there.
pub(crate) fn remove_abandoned(root: &PikuRoot, app: &AppName, users: AppUsers) -> anyhow::Result<()> {
    let dir = root.app(app);
    if let Some(number) = current::live_release(&dir)? {
        make_jail(root, app, number, users)?;
    }
    find_abandoned(&dir).iter().try_for_each(|folder| remove_folder(root, app, folder))
}

/// Removes the scratch directory of the app or a folder in it. What the app's own user has made can only be
/// removed in a jail of that user, which does so when it is made.
pub(crate) fn remove_folder(root: &PikuRoot, app: &AppName, folder: &Path) -> anyhow::Result<()> {
    if current::remove_dir(folder).is_err() {
        remove_in_jail(root, app, &root.app(app).scratch())?;
    }
    current::remove_dir(folder)
}

/// Makes a jail of a release, which moves kept files out of abandoned folders and removes these.
fn make_jail(root: &PikuRoot, app: &AppName, number: u64, users: AppUsers) -> anyhow::Result<()> {
    let world = ReleaseContext::read(root, app, number)?;
    if !world.is_jailed() {
        return Ok(());
    }
    let vars = world.vars(ProcessRole { ps: "run.1", kind: "run", port: None })?;
    current::create_data_dir(&world.dir)?;
    let isolation = AppIsolation::new(users, HostSettings::read(&root.settings())?);
    let command = [NOTHING.to_owned()];
    let mut jail =
        world.command(&isolation, &vars, &command, Path::new("/dev/null"), CommandOptions::default())?;
    // The folders that remain are removed without it.
    let _ = jail.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(())
}

/// Removes abandoned folders that the app's own user has made, which only that user can.
fn remove_in_jail(root: &PikuRoot, app: &AppName, scratch: &Path) -> anyhow::Result<()> {
    if !root.uid_ranges().exists() {
        return Ok(());
    }
    let jail = JailSpec::new().scratch(scratch).own_user(app.as_str(), &root.uid_ranges());
    let command = jail.command([("LANG", "C.UTF-8")], &[NOTHING.to_owned()]).stdin(Stdio::null()).status();
    command.context("cannot run 'true' in a jail").map(drop)
}
