//! Locks of the kernel's: held by a descriptor, gone with the last process that has it. Their files are never unlinked.

#![expect(clippy::disallowed_methods, reason = "locks, which only piku writes")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Takes it; nothing when somebody else has it.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    /// Writes this process's pid into it, for whoever finds it taken.
    pub(crate) fn sign(&mut self) -> io::Result<()> {
        self.sign_as(&std::process::id().to_string())
    }

    /// Writes this into it.
    pub(crate) fn sign_as(&mut self, text: &str) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all(text.as_bytes())
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who signed a lock.
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
        let mut lock = FileLock::take(&path).unwrap().unwrap();
        lock.sign().unwrap();
        assert!(FileLock::take(&path).unwrap().is_none());
        assert_eq!(holder(&path), i32::try_from(std::process::id()).ok());
        drop(lock);
        // A process that another test is starting has the descriptor too, until it runs its program.
        let is_free = |_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            FileLock::take(&path).unwrap().is_some()
        };
        assert!((0..1000).any(is_free));
    }
}
