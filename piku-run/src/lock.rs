//! File locks. A lock is held by a descriptor and released with its last holder. Lock files are never
//! unlinked.

#![expect(clippy::disallowed_methods, reason = "locks, which only piku writes")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// A held lock.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Locks the file; `None` if another process holds the lock.
    pub(crate) fn try_lock(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    /// Writes this process's pid into the file, for processes that find it locked.
    pub(crate) fn write_pid(&mut self) -> io::Result<()> {
        self.write_text(&std::process::id().to_string())
    }

    /// Writes a text into the file.
    pub(crate) fn write_text(&mut self, text: &str) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all(text.as_bytes())
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns the pid written into a lock file.
pub(crate) fn holder(path: &Path) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let mut lock = FileLock::try_lock(&path).unwrap().unwrap();
        lock.write_pid().unwrap();
        assert!(FileLock::try_lock(&path).unwrap().is_none());
        assert_eq!(holder(&path), i32::try_from(std::process::id()).ok());
        drop(lock);
        // A process that another test is starting has the descriptor too, until it runs its program.
        let is_free = |_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            FileLock::try_lock(&path).unwrap().is_some()
        };
        assert!((0..1000).any(is_free));
    }
}
