//! One change of an app at a time. The lock is the kernel's (flock), so it is never stale: git, the hook and the tools
//! inherit the descriptor, and it is free when the last of them has ended, however they end. The file stays for ever; its
//! first line says who holds it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use piku_procfile::failure::{BUSY, Failure};
use piku_procfile::layout::AppDir;

use crate::now::now;
use crate::talk;

/// What others leave word of in the lock, for its holder: a line each, below the holder's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// git has been sent something to store.
    Received,
    /// What was sent may be stored.
    Admitted,
    /// The push is a dry run.
    DryRun,
    /// The dry run has shown its plan.
    Planned,
    /// Somebody has ended the build.
    Cancelled(String),
}

impl Note {
    fn line(&self) -> String {
        match self {
            Self::Received => "received\n".to_owned(),
            Self::Admitted => "admitted\n".to_owned(),
            Self::DryRun => "dry-run\n".to_owned(),
            Self::Planned => "planned\n".to_owned(),
            Self::Cancelled(by) => format!("cancelled {by}\n"),
        }
    }

    fn read(line: &str) -> Option<Self> {
        match line {
            "received" => Some(Self::Received),
            "admitted" => Some(Self::Admitted),
            "dry-run" => Some(Self::DryRun),
            "planned" => Some(Self::Planned),
            _ => Some(Self::Cancelled(line.strip_prefix("cancelled ")?.to_owned())),
        }
    }
}

/// How often a lock is asked for by who will not wait for ever.
const PAUSE: Duration = Duration::from_millis(100);

/// The held lock. Free when this process and all that have inherited it are gone.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Dropping a `Flock` unlocks, for everybody who has inherited it too; closing the file does not.
    file: ManuallyDrop<Flock<File>>,
    path: PathBuf,
}

impl Lock {
    /// Takes the app's lock, making the app's folder when it is not there. Waits for who has it, and says so.
    pub(crate) fn take(app: &AppDir, key: &str) -> anyhow::Result<Self> {
        Self::take_within(app, key, None)
    }

    /// The same, but gives up after some time.
    ///
    /// # Errors
    /// When the time has passed, with exit code 75.
    pub(crate) fn take_within(app: &AppDir, key: &str, patience: Option<Duration>) -> anyhow::Result<Self> {
        let path = app.lock();
        let file = loop {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(app.path())
                .with_context(|| format!("cannot make '{}'", app.path().display()))?;
            let file = open(&path).with_context(|| format!("cannot open '{}'", path.display()))?;
            let file = locked(file, &path, patience)
                .with_context(|| format!("cannot lock '{}'", path.display()))?
                .ok_or_else(|| {
                    let app = app.path().file_name().unwrap_or_default().to_string_lossy();
                    Failure::new(format!("somebody else is changing {app}")).hint("try again").code(BUSY)
                })?;
            // The app may have been destroyed while we waited: then this file is no longer the lock.
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

    /// What has been left word of since the lock was taken.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().skip(1).filter_map(Note::read).collect()
    }
}

/// Leaves word for whoever holds the app's lock.
pub(crate) fn note(app: &AppDir, note: &Note) -> io::Result<()> {
    OpenOptions::new().append(true).open(app.lock())?.write_all(note.line().as_bytes())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Locks the file; says whom it waits for when it has to. `None` when it was not to be had in time.
fn locked(file: File, path: &Path, patience: Option<Duration>) -> io::Result<Option<Flock<File>>> {
    let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => return Ok(Some(lock)),
        Err((file, Errno::EWOULDBLOCK)) => file,
        Err((_, errno)) => return Err(errno.into()),
    };
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    talk::step(&waiting_for(&text, path));
    let end = patience.map(|patience| Instant::now() + patience);
    // The kernel wakes who waits, but not at a certain time.
    let how = if end.is_some() { FlockArg::LockExclusiveNonblock } else { FlockArg::LockExclusive };
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(Some(lock)),
            Err((again, Errno::EINTR)) => file = again,
            Err((again, Errno::EWOULDBLOCK)) => {
                if end.is_some_and(|end| Instant::now() >= end) {
                    return Ok(None);
                }
                thread::sleep(PAUSE);
                file = again;
            }
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

fn waiting_for(text: &str, path: &Path) -> String {
    let app = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(key), Some(pid), Some(since)) => {
            format!("Waiting for {key}, who has been changing {app} since {since} (process {pid})")
        }
        _ => format!("Waiting for somebody else who is changing {app}"),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let there = fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    there.is_some() && there == file.metadata().ok().map(|ours| (ours.dev(), ours.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_procfile::layout::Root;

    #[test]
    fn says_whom_it_waits_for() {
        let path = Path::new("/r/apps/blog/lock");
        assert_eq!(
            waiting_for("alice 12 2026-01-02T03:04:05Z\nreceived\n", path),
            "Waiting for alice, who has been changing blog since 2026-01-02T03:04:05Z (process 12)"
        );
        assert_eq!(waiting_for("", path), "Waiting for somebody else who is changing blog");
    }

    #[test]
    fn word_is_left_for_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let app = Root::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        let lock = Lock::take(&app, "alice").unwrap();
        assert_eq!(lock.notes(), []);
        let notes =
            [Note::Received, Note::Admitted, Note::DryRun, Note::Planned, Note::Cancelled("bob".to_owned())];
        for left in &notes {
            note(&app, left).unwrap();
        }
        assert_eq!(lock.notes(), notes);
        assert!(Flock::lock(open(&app.lock()).unwrap(), FlockArg::LockExclusiveNonblock).is_err());
    }
}
