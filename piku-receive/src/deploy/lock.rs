//! The app's lock during a push: git, the hook and the tools inherit the descriptor, and the lock is free when the
//! last of them has ended. They leave notes in the file, below the line of the holder.

#![expect(clippy::disallowed_methods, reason = "locks of apps, which only piku writes")]

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use piku_files::FileLock;
use piku_layout::app_lock;
use piku_layout::paths::AppDir;

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
        let file = loop {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(app.path())
                .with_context(|| format!("cannot create '{}'", app.path().display()))?;
            // If the app was destroyed meanwhile, it is created again.
            if let Some(file) = app_lock::wait_for(app, key, patience)? {
                break file;
            }
        };
        let lock = Self { file: ManuallyDrop::new(file), path: app.lock() };
        fcntl(lock.file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))
            .with_context(|| format!("cannot keep '{}' open", lock.path.display()))?;
        Ok(lock)
    }

    /// Removes the app's directory if it holds nothing but this lock, because what was to be made in it has failed.
    pub(crate) fn remove_empty_dir(self, app: &AppDir) {
        app_lock::remove_empty_dir(app, ManuallyDrop::into_inner(self.file));
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

#[cfg(test)]
mod tests {
    use super::*;
    use piku_layout::paths::PikuRoot;

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
        assert!(app_lock::is_held(&app));
    }
}
