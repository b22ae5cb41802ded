//! The app's lock, which a push holds from its first byte to the end of its deploy, and the supervisor's.

#![expect(clippy::disallowed_methods, reason = "looks for the app's own folder")]

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_files::FileLock;
use piku_layout::app_lock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::unknown_app::unknown_app;
use piku_report::user_error::{BUSY, UserError};

use crate::lock;
use crate::releases::{current, who};

/// Time for a supervisor without work to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for the app's lock, up to `lock_timeout` of the host settings.
///
/// # Errors
/// Fails as busy if it is not free in time, and if the app was removed or renamed meanwhile.
pub(crate) fn wait_for_app(root: &PikuRoot, app: &AppName) -> anyhow::Result<FileLock> {
    let dir = root.app(app);
    while dir.path().is_dir() {
        if let Some(lock) = app_lock::wait_for(&dir, &who(), None)? {
            return Ok(lock);
        }
    }
    Err(unknown_app(root, app).into())
}

/// Takes the app's lock if it is free. `None` if the app's directory was removed by hand.
///
/// # Errors
/// Fails as busy during a push.
pub(in crate::commands) fn lock_idle_app(dir: &AppDir, app: &AppName) -> anyhow::Result<Option<FileLock>> {
    if !dir.path().exists() {
        return Ok(None);
    }
    let lock = app_lock::try_acquire(dir, &who())?;
    if lock.is_none() {
        let what = if dir.is_there() {
            format!("a push to {app} is in progress")
        } else {
            format!("an app named {app} is being created or restored")
        };
        return Err(UserError::new(what).hint("try again when that has ended").code(BUSY).into());
    }
    Ok(lock)
}

/// Waits until the supervisor has ended, and prevents the next one from starting.
pub(crate) fn keep_out_supervisor(root: &PikuRoot, app: &AppName) -> anyhow::Result<FileLock> {
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
