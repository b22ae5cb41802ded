//! The app's lock: one change at a time.
//!
//! It is a kernel lock (flock) and never stale: git, the hook and the tools inherit the descriptor, and the
//! lock is free when the last of them has ended. The file stays; its first line names the holder.

#![expect(clippy::disallowed_methods, reason = "locks of apps, which only piku writes")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use piku_files::FileLock;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use crate::now;

/// A note for the holder of the lock: a line below the holder's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LockNote {
    /// git received objects or commands.
    Received,
    /// The received objects may be stored.
    Admitted,
    DryRun,
    /// The plan of the dry run was printed.
    Planned,
    /// The build was cancelled by this key.
    Cancelled(String),
}

impl LockNote {
    fn to_line(&self) -> String {
        match self {
            Self::Received => "received\n".to_owned(),
            Self::Admitted => "admitted\n".to_owned(),
            Self::DryRun => "dry-run\n".to_owned(),
            Self::Planned => "planned\n".to_owned(),
            Self::Cancelled(by) => format!("cancelled {by}\n"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        match line {
            "received" => Some(Self::Received),
            "admitted" => Some(Self::Admitted),
            "dry-run" => Some(Self::DryRun),
            "planned" => Some(Self::Planned),
            _ => Some(Self::Cancelled(line.strip_prefix("cancelled ")?.to_owned())),
        }
    }
}

/// Longest first line that is read, in bytes.
const MAX_LINE: u64 = 4096;

/// A held lock. It is free when this process and all that inherited it have ended.
#[derive(Debug)]
pub(crate) struct AppLock {
    /// Never closed: the lock is held until this process ends, even if this value is dropped.
    file: ManuallyDrop<FileLock>,
    path: PathBuf,
}

impl AppLock {
    /// Acquires the lock, creating the app's directory if necessary. Reports the holder while it waits.
    ///
    /// # Errors
    /// With exit code 75 if the lock is not free within `lock_timeout` of `host.yaml`.
    pub(crate) fn acquire(app: &AppDir, key: &str) -> anyhow::Result<Self> {
        Self::acquire_within(app, key, None)
    }

    /// Does the same with another timeout, if one is given.
    pub(crate) fn acquire_within(
        app: &AppDir,
        key: &str,
        patience: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let path = app.lock();
        let file = loop {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(app.path())
                .with_context(|| format!("cannot create '{}'", app.path().display()))?;
            let file = open_lock_file(&path).with_context(|| format!("cannot open '{}'", path.display()))?;
            let file = lock_or_wait(file, &path, || patience.unwrap_or_else(|| longest_wait(app)))?;
            // If the app was destroyed meanwhile, this file is no longer the lock.
            if is_at(&file, &path) {
                break file;
            }
        };
        let mut lock = Self { file: ManuallyDrop::new(file), path };
        lock.inherit_and_sign(key).with_context(|| format!("cannot write '{}'", lock.path.display()))?;
        Ok(lock)
    }

    fn inherit_and_sign(&mut self, key: &str) -> io::Result<()> {
        fcntl(self.file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(format!("{key} {} {}\n", std::process::id(), now()).as_bytes())
    }

    /// Returns the notes since the lock was acquired.
    pub(crate) fn notes(&self) -> Vec<LockNote> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().skip(1).filter_map(LockNote::parse).collect()
    }
}

/// Appends a note for the holder of the app's lock.
pub(crate) fn append_note(app: &AppDir, note: &LockNote) -> io::Result<()> {
    OpenOptions::new().append(true).open(app.lock())?.write_all(note.to_line().as_bytes())
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Returns `lock_timeout` of the host settings.
fn longest_wait(app: &AppDir) -> Duration {
    let root = app.path().ancestors().nth(2).map(Path::to_owned);
    let settings = PikuRoot::new(root).ok().and_then(|root| HostSettings::read(&root.settings()).ok());
    // The commands that need more settings report unreadable ones.
    Duration::from_secs(settings.unwrap_or_default().lock_timeout)
}

/// Locks the file. Reports the holder if it has to wait, and again if it gives up.
fn lock_or_wait(file: File, path: &Path, patience: impl Fn() -> Duration) -> anyhow::Result<FileLock> {
    let cannot =
        |err: io::Error| anyhow::Error::from(err).context(format!("cannot lock '{}'", path.display()));
    let mut again = file.try_clone().map_err(cannot)?;
    if let Some(lock) = FileLock::try_exclusive(file).map_err(cannot)? {
        return Ok(lock);
    }
    progress::step(&format!("Waiting for {}", describe_holder(&mut again, path)));
    let file = open_lock_file(path).with_context(|| format!("cannot open '{}'", path.display()))?;
    let (sender, receiver) = mpsc::channel();
    // flock has no timeout, so a thread waits. A lock that it gets too late is released with it.
    thread::Builder::new()
        .name("lock".to_owned())
        .spawn(move || sender.send(FileLock::exclusive(file)))
        .context("cannot start a thread")?;
    match receiver.recv_timeout(patience()) {
        Ok(lock) => lock.map_err(cannot),
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

fn is_at(file: &File, path: &Path) -> bool {
    let there = fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    there.is_some() && there == file.metadata().ok().map(|ours| (ours.dev(), ours.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_layout::paths::PikuRoot;

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
        let held = AppLock::acquire(&app, "alice").unwrap();
        for patience in [None, Some(Duration::from_millis(1))] {
            let err = AppLock::acquire_within(&app, "bob", patience).unwrap_err();
            assert!(err.to_string().starts_with("gave up waiting for alice, who has been"), "{err:#}");
            let (hints, code) = piku_report::user_error::advice(&err);
            assert_eq!(
                (code, hints[0].as_str()),
                (BUSY, "try again, or end a build that hangs: piku cancel blog")
            );
        }
        // What has waited too long keeps nothing.
        drop(ManuallyDrop::into_inner(held.file));
        drop(AppLock::acquire_within(&app, "bob", Some(Duration::from_secs(60))).unwrap());
    }

    #[test]
    fn word_is_left_for_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        let lock = AppLock::acquire(&app, "alice").unwrap();
        assert_eq!(lock.notes(), []);
        let notes = [
            LockNote::Received,
            LockNote::Admitted,
            LockNote::DryRun,
            LockNote::Planned,
            LockNote::Cancelled("bob".to_owned()),
        ];
        for left in &notes {
            append_note(&app, left).unwrap();
        }
        assert_eq!(lock.notes(), notes);
        assert!(FileLock::try_exclusive(open_lock_file(&app.lock()).unwrap()).unwrap().is_none());
    }
}
