//! The app's lock, which a push holds from its first byte to the end of its deploy, and the supervisor's.

#![expect(clippy::disallowed_methods, reason = "locks of apps, which only piku writes")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use crate::lock;
use crate::releases::current;

/// Time for a supervisor without work to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for the app's lock, up to `lock_timeout` of the host settings, and writes the holder's name into it.
///
/// # Errors
/// Fails as busy if it is not free in time.
pub(super) fn wait_for_app(root: &PikuRoot, app: &AppName) -> anyhow::Result<FileLock> {
    let path = root.app(app).lock();
    let most = Duration::from_secs(HostSettings::read(&root.settings())?.lock_timeout);
    let since = Instant::now();
    let mut is_told = false;
    loop {
        let lock = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
        // A file that was replaced meanwhile is no longer the lock.
        if let Some(mut lock) = lock.filter(|lock| is_at(lock, &path)) {
            let text =
                format!("{} {} {:.0}\n", crate::releases::who(), std::process::id(), jiff::Timestamp::now());
            lock::write_text(&mut lock, &text)
                .with_context(|| format!("cannot write '{}'", path.display()))?;
            return Ok(lock);
        }
        if since.elapsed() > most {
            let what = format!("gave up waiting for another change of {app}");
            return Err(UserError::new(what)
                .hint("lock_timeout in host.yaml sets how many seconds to wait")
                .code(BUSY)
                .into());
        }
        if !is_told {
            progress::step(&format!("Waiting for the change of {app} that is in progress"));
            is_told = true;
        }
        sleep(Duration::from_millis(50));
    }
}

fn is_at(lock: &FileLock, path: &Path) -> bool {
    let there = fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    there.is_some() && there == lock.metadata().ok().map(|ours| (ours.dev(), ours.ino()))
}

/// Takes the app's lock if it is free. `None` if the app's directory was removed by hand.
///
/// # Errors
/// Fails as busy during a push.
pub(super) fn lock_idle_app(dir: &AppDir, app: &AppName) -> anyhow::Result<Option<FileLock>> {
    if !dir.path().exists() {
        return Ok(None);
    }
    let path = dir.lock();
    let lock = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
    if lock.is_none() {
        let what = format!("a push to {app} is in progress");
        return Err(UserError::new(what).hint("try again when the push has ended").code(BUSY).into());
    }
    Ok(lock)
}

/// Waits until the supervisor has ended, and prevents the next one from starting.
pub(super) fn keep_out_supervisor(root: &PikuRoot, app: &AppName) -> anyhow::Result<FileLock> {
    let path = current::supervisor_lock(&root.app(app));
    let since = Instant::now();
    loop {
        let lock = lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        if since.elapsed() > PATIENCE {
            let what = format!("the supervisor of {app} does not leave");
            return Err(UserError::new(what).hint("try again").code(BUSY).into());
        }
        sleep(Duration::from_millis(3));
    }
}
