//! `destroy APP --confirm APP`: stops the app and removes its directory except its data. Can be repeated if
//! it was interrupted.

#![expect(
    clippy::disallowed_methods,
    reason = "names in the app's own folder, which only piku writes; what they name is removed through a handle"
)]

use std::fs;
use std::io::ErrorKind;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_files::FileLock;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_report::progress;
use piku_report::user_error::{BUSY, USAGE, UserError};

use crate::garbage::scratch;
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::lock;
use crate::nginx::WebServer;
use crate::releases::current;

/// Time for a supervisor without work to end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(in crate::commands) fn run(root: &PikuRoot, app: &AppName, confirm: &AppName) -> anyhow::Result<()> {
    if app != confirm {
        let what = format!("'{confirm}' is not the name of the app to destroy, '{app}'");
        return Err(UserError::new(what).code(USAGE).into());
    }
    let dir = root.app(app);
    crate::commands::must_be_there(root, app)?;
    let _push = when_nobody_pushes(&dir, app)?;
    client::ask(root, app, &SupervisorRequest::Stop { stay: true })?;
    client::ask(root, app, &SupervisorRequest::Leave)?;
    let _lock = when_alone(root, app)?;
    if dir.path().is_dir() {
        // From here on the app counts as destroyed.
        atomic_file::write(&dir.destroying(), b"", 0o600)
            .with_context(|| format!("cannot write '{}'", dir.destroying().display()))?;
    }
    // The next app of this name may belong to another user.
    root.change_grants(app, |_| Ok(Vec::new())).context("cannot take back what was granted")?;
    WebServer::load(root)?.purge_app(app)?;
    // First what would make it run again, last the marks that it is stopped.
    current::remove_dir(&dir.current())?;
    remove_scratch(root, app, &dir)?;
    let kept = [dir.data(), dir.stopped(), dir.destroying()];
    let entries = match fs::read_dir(dir.path()) {
        Ok(entries) => entries.collect(),
        // The directory was removed by hand.
        Err(err) if err.kind() == ErrorKind::NotFound => Vec::new(),
        Err(err) => return Err(err).with_context(|| format!("cannot list '{}'", dir.path().display())),
    };
    for entry in entries {
        let path = entry?.path();
        if kept.contains(&path) {
            continue;
        }
        current::remove_dir(&path)?;
    }
    current::remove_dir(dir.run())?;
    current::remove_dir(&dir.stopped())?;
    current::remove_dir(&dir.destroying())?;
    // Succeeds if the directory is empty.
    let _ = fs::remove_dir(dir.data());
    match fs::remove_dir(dir.path()) {
        Err(err) if err.kind() == ErrorKind::DirectoryNotEmpty => {
            progress::step(&format!("{app} is destroyed; its data stays in '{}'", dir.data().display()));
        }
        _ => progress::step(&format!("{app} is destroyed")),
    }
    Ok(())
}

/// Removes what killed processes have changed in `/app`. What the app's own user has made can only be removed
/// in a jail of that user, which does so when it is made.
fn remove_scratch(root: &PikuRoot, app: &AppName, dir: &AppDir) -> anyhow::Result<()> {
    let path = dir.scratch();
    if current::remove_dir(&path).is_err() {
        scratch::remove_in_jail(root, app, &path)?;
    }
    current::remove_dir(&path)
}

/// Takes the app's lock, which a push holds from its first byte to the end of its deploy. `None` if the
/// directory was removed by hand.
fn when_nobody_pushes(dir: &AppDir, app: &AppName) -> anyhow::Result<Option<FileLock>> {
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
fn when_alone(root: &PikuRoot, app: &AppName) -> anyhow::Result<FileLock> {
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
