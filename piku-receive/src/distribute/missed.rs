//! Releases for hosts that were down (`skip_down`): they are kept after the deploy, until the hosts are back
//! and have them, or until the next deploy.

#![expect(
    clippy::disallowed_methods,
    reason = "folders of releases and the lock of the daemon, which only piku writes"
)]

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::path::Path;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_files::{FileLock, atomic_file, remove_all};
use piku_layout::deploys::missed_release::MissedRelease;
use piku_layout::paths::{AppDir, PikuRoot};

use super::target_host::TargetHost;

/// Keeps the releases if a host was down, and forgets those of earlier deploys. The caller holds the app's
/// lock.
pub(super) fn keep_missed_release(
    root: &PikuRoot,
    app: &AppDir,
    releases: &Path,
    machines: &[TargetHost<'_>],
) -> anyhow::Result<()> {
    let down: Vec<String> = machines
        .iter()
        .filter(|machine| machine.is_down)
        .map(|machine| machine.address.to_string())
        .collect();
    let (kept, new) = (MissedRelease::of(app), MissedRelease::unfinished(app));
    remove_folder(new.path())?;
    if down.is_empty() {
        return remove_folder(kept.path());
    }
    let cannot = || format!("cannot keep the release in '{}'", new.path().display());
    DirBuilder::new().create(new.path()).with_context(cannot)?;
    fs::rename(releases, new.releases()).with_context(cannot)?;
    new.write_machines(&down).with_context(cannot)?;
    remove_folder(kept.path())?;
    fs::rename(new.path(), kept.path()).with_context(cannot)?;
    atomic_file::sync_parent(kept.path()).with_context(cannot)?;
    wake_daemon(root);
    Ok(())
}

/// Removes hosts that have the release from the list, and the release after the last one.
pub(super) fn forget_machines(app: &AppDir, done: &[String]) -> anyhow::Result<()> {
    let missed = MissedRelease::of(app);
    let mut left = missed.machines();
    left.retain(|machine| !done.contains(machine));
    if left.is_empty() {
        return remove_folder(missed.path());
    }
    missed.write_machines(&left).with_context(|| format!("cannot write in '{}'", missed.path().display()))
}

/// Removes a folder; the list goes first, so that what a kill leaves is not taken for a missed release.
fn remove_folder(path: &Path) -> anyhow::Result<()> {
    let gone = path.with_extension("gone");
    let cannot = || format!("cannot remove '{}'", path.display());
    remove_all(&gone).with_context(cannot)?;
    match fs::rename(path, &gone) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.and_then(|()| remove_all(&gone)).with_context(cannot),
    }
}

/// Has the daemon look for missed releases, which it otherwise does when it starts.
fn wake_daemon(root: &PikuRoot) {
    let path = root.run().join("daemon.lock");
    let lock = OpenOptions::new().read(true).write(true).open(&path).and_then(FileLock::try_exclusive);
    // A pid in a file that nobody locks may be that of any process by now.
    if !matches!(lock, Ok(None)) {
        return;
    }
    let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    if let Some(pid) = pid {
        let _ = kill(Pid::from_raw(pid), Signal::SIGHUP);
    }
}
