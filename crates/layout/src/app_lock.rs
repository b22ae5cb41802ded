//! The app's lock: one change at a time.
//!
//! It is a kernel lock (flock) and never stale: it is free when its holder and all programs that have inherited the
//! descriptor have ended. The first line of the file names the holder.

#![expect(clippy::disallowed_methods, reason = "locks of apps, which only piku writes")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use piku_files::FileLock;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use crate::paths::{AppDir, PikuRoot};
use crate::settings::HostSettings;

/// Longest first line that is read, in bytes.
const MAX_LINE: u64 = 4096;

/// Takes the app's lock if it is free, and signs it with the name `by`. `None` if another process holds it.
///
/// # Errors
/// Fails if the app has no directory.
pub fn try_acquire(app: &AppDir, by: &str) -> anyhow::Result<Option<FileLock>> {
    let path = app.lock();
    let file = open_lock_file(&path).with_context(|| format!("cannot open '{}'", path.display()))?;
    let lock = FileLock::try_exclusive(file).with_context(|| format!("cannot lock '{}'", path.display()))?;
    // A file that was replaced meanwhile is no longer the lock.
    lock.filter(|lock| is_at(lock, &path)).map(|lock| sign(lock, by, &path)).transpose()
}

/// Waits for the app's lock, up to `patience` or `lock_timeout` of the host settings, and signs it with the name
/// `by`. Reports the holder while it waits. `None` if the app's directory is not there, or was replaced meanwhile.
///
/// # Errors
/// With exit code 75 if the lock is not free in time.
pub fn wait_for(app: &AppDir, by: &str, patience: Option<Duration>) -> anyhow::Result<Option<FileLock>> {
    wait_at(&app.lock(), app, by, patience)
}

/// Waits for the lock at this path; `None` if its folder is not there, or the file was replaced meanwhile.
fn wait_at(
    path: &Path,
    app: &AppDir,
    by: &str,
    patience: Option<Duration>,
) -> anyhow::Result<Option<FileLock>> {
    let file = match open_lock_file(path) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("cannot open '{}'", path.display()))?,
    };
    let lock = lock_or_wait(file, path, || patience.unwrap_or_else(|| longest_wait(app)))?;
    lock.filter(|lock| is_at(lock, path)).map(|lock| sign(lock, by, path)).transpose()
}

/// Waits as [`wait_for`] does for the lock of changes that this machine passes on to the machines of the app: it is held
/// from before the change here until the last machine has answered, so that all of them get changes in one order. The
/// app's own lock is taken after it.
///
/// # Errors
/// With exit code 75 if the lock is not free in time.
pub fn wait_for_relay(app: &AppDir, by: &str, patience: Option<Duration>) -> anyhow::Result<FileLock> {
    let path = app.relay_lock();
    loop {
        // The app may be a new one, or be destroyed meanwhile with this folder.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(app.run())
            .with_context(|| format!("cannot create '{}'", app.run().display()))?;
        if let Some(lock) = wait_at(&path, app, by, patience)? {
            return Ok(lock);
        }
    }
}

/// Returns true if a process holds the app's lock.
#[must_use]
pub fn is_held(app: &AppDir) -> bool {
    // Not created: the app may have no directory.
    File::open(app.lock()).and_then(FileLock::is_held).unwrap_or(false)
}

/// Removes the directory of an app that contains nothing but its lock, which the caller holds. Others that wait for
/// the lock notice that it is gone.
pub fn remove_empty_dir(app: &AppDir, lock: FileLock) {
    let is_lock = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.path() == app.lock());
    if fs::read_dir(app.path()).is_ok_and(|mut entries| entries.all(is_lock)) {
        let _ = fs::remove_file(app.lock());
        // Fails if a new app has this name by now.
        let _ = fs::remove_dir(app.path());
    }
    drop(lock);
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn sign(mut lock: FileLock, by: &str, path: &Path) -> anyhow::Result<FileLock> {
    let text = format!("{by} {} {:.0}\n", std::process::id(), Timestamp::now());
    let signed = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(text.as_bytes()));
    match signed {
        // A change that makes room must not need any: others learn that the app is locked, but not by whom.
        Err(err) if matches!(err.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Ok(lock),
        signed => signed.map(|()| lock).with_context(|| format!("cannot write '{}'", path.display())),
    }
}

/// Returns `lock_timeout` of the host settings.
fn longest_wait(app: &AppDir) -> Duration {
    let root = app.path().ancestors().nth(2).map(Path::to_owned);
    let settings = PikuRoot::new(root).ok().and_then(|root| HostSettings::read(&root.settings()).ok());
    // The commands that need more settings report unreadable ones.
    Duration::from_secs(settings.unwrap_or_default().lock_timeout)
}

/// Locks the file; `None` if another file has its name by the time at which it is opened again.
fn lock_or_wait(
    file: File,
    path: &Path,
    patience: impl Fn() -> Duration,
) -> anyhow::Result<Option<FileLock>> {
    let cannot =
        |err: io::Error| anyhow::Error::from(err).context(format!("cannot lock '{}'", path.display()));
    let mut again = file.try_clone().map_err(cannot)?;
    if let Some(lock) = FileLock::try_exclusive(file).map_err(cannot)? {
        return Ok(Some(lock));
    }
    progress::step(&format!("Waiting for {}", describe_holder(&mut again, path)));
    let file = match open_lock_file(path) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("cannot open '{}'", path.display()))?,
    };
    let (sender, receiver) = mpsc::channel();
    // flock has no timeout, so a thread waits. A lock that it gets too late is released with it.
    thread::Builder::new()
        .name("lock".to_owned())
        .spawn(move || sender.send(FileLock::exclusive(file)))
        .context("cannot start a thread")?;
    match receiver.recv_timeout(patience()) {
        Ok(lock) => lock.map(Some).map_err(cannot),
        Err(RecvTimeoutError::Disconnected) => Err(anyhow!("cannot wait for '{}'", path.display())),
        Err(RecvTimeoutError::Timeout) => {
            let app = app_of(path);
            again.rewind().map_err(cannot)?;
            let what = format!("gave up waiting for {}", describe_holder(&mut again, path));
            Err(UserError::new(what)
                .hint(format!("try again, or end a build that hangs: piku cancel {app}"))
                .hint("lock_timeout in host.yaml sets how many seconds to wait")
                .code(BUSY)
                .into())
        }
    }
}

/// Describes the holder by the first line of the file.
fn describe_holder(file: &mut File, path: &Path) -> String {
    let mut text = String::new();
    // An unreadable file gives the general text.
    let _ = file.take(MAX_LINE).read_to_string(&mut text);
    holder_in(&text, app_of(path).as_ref())
}

fn app_of(path: &Path) -> std::borrow::Cow<'_, str> {
    path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy()
}

fn holder_in(text: &str, app: &str) -> String {
    let mut words = text.lines().next().unwrap_or_default().split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(key), Some(pid), Some(since)) => {
            format!("{key}, who has been changing {app} since {since} (process {pid})")
        }
        _ => format!("another session that is changing {app}"),
    }
}

/// Returns whether the file is still the one at this path.
#[must_use]
pub fn is_at(file: &File, path: &Path) -> bool {
    let there = fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    there.is_some() && there == file.metadata().ok().map(|ours| (ours.dev(), ours.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_whom_it_waits_for() {
        assert_eq!(
            holder_in("alice 12 2026-01-02T03:04:05Z\nreceived\n", "blog"),
            "alice, who has been changing blog since 2026-01-02T03:04:05Z (process 12)"
        );
        assert_eq!(holder_in("", "blog"), "another session that is changing blog");
    }

    #[test]
    fn a_wait_ends_at_its_bound_and_says_whom_it_was_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        fs::write(root.settings(), "lock_timeout: 0\n").unwrap();
        let app = root.app(&"blog".parse().unwrap());
        assert!(wait_for(&app, "alice", None).unwrap().is_none() && !app.path().exists());
        fs::create_dir_all(app.path()).unwrap();
        assert!(!is_held(&app) && !app.lock().exists());
        let held = try_acquire(&app, "alice").unwrap().unwrap();
        assert!(is_held(&app) && try_acquire(&app, "bob").unwrap().is_none());
        for patience in [None, Some(Duration::from_millis(1))] {
            let err = wait_for(&app, "bob", patience).unwrap_err();
            assert!(err.to_string().starts_with("gave up waiting for alice, who has been"), "{err:#}");
            let (hints, code) = piku_report::user_error::advice(&err);
            assert_eq!(
                (code, hints[0].as_str()),
                (BUSY, "try again, or end a build that hangs: piku cancel blog")
            );
        }
        // What has waited too long keeps nothing.
        drop(held);
        drop(wait_for(&app, "bob", Some(Duration::from_secs(60))).unwrap().unwrap());
    }

    #[test]
    fn only_an_empty_directory_is_removed_and_who_waits_does_not_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        fs::create_dir_all(app.data()).unwrap();
        let acquire = || try_acquire(&app, "alice").unwrap().unwrap();
        remove_empty_dir(&app, acquire());
        assert!(app.data().exists() && app.lock().exists());
        fs::remove_dir(app.data()).unwrap();
        let lock = acquire();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_for(&app, "bob", Some(Duration::from_secs(60))));
            remove_empty_dir(&app, lock);
            assert!(waiting.join().unwrap().unwrap().is_none());
        });
        assert!(!app.path().exists());
    }
}
