//! Locks of the kernel (`flock`) on files and directories.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

/// A held lock, released when the last copy of its descriptor is closed.
///
/// A program that inherits the descriptor over exec keeps the lock until it ends, however it ends. Lock files
/// are never unlinked, since two processes could then lock different files.
#[derive(Debug)]
pub struct FileLock<F: AsFd = File>(F);

impl<F: AsFd> FileLock<F> {
    /// Takes the lock exclusively; `None` if another process holds it.
    ///
    /// # Errors
    /// Fails if the file system does not support locks.
    pub fn try_exclusive(file: F) -> io::Result<Option<Self>> {
        Self::try_lock(file, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock together with other shared holders; `None` if another process holds it exclusively.
    ///
    /// # Errors
    /// As [`Self::try_exclusive`].
    pub fn try_shared(file: F) -> io::Result<Option<Self>> {
        Self::try_lock(file, FlockOperation::NonBlockingLockShared)
    }

    /// Waits until no other process holds the lock, and takes it exclusively.
    ///
    /// # Errors
    /// As [`Self::try_exclusive`].
    pub fn exclusive(file: F) -> io::Result<Self> {
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(Self(file))
    }

    /// Waits until no other process holds the lock exclusively, and takes it together with other shared holders.
    ///
    /// # Errors
    /// As [`Self::try_exclusive`].
    pub fn shared(file: F) -> io::Result<Self> {
        retry_on_intr(|| flock(&file, FlockOperation::LockShared))?;
        Ok(Self(file))
    }

    /// Unlocks, also for programs that have inherited the descriptor.
    ///
    /// # Errors
    /// As [`Self::try_exclusive`].
    pub fn unlock(self) -> io::Result<()> {
        Ok(flock(&self.0, FlockOperation::Unlock)?)
    }

    /// Returns true if a process holds the lock exclusively. Others that look at the same time are not taken for one.
    ///
    /// # Errors
    /// As [`Self::try_exclusive`].
    pub fn is_held(file: F) -> io::Result<bool> {
        Ok(Self::try_shared(file)?.is_none())
    }

    fn try_lock(file: F, operation: FlockOperation) -> io::Result<Option<Self>> {
        match flock(&file, operation) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }
}

impl<F: AsFd> AsFd for FileLock<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<F: AsFd> Deref for FileLock<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.0
    }
}

impl<F: AsFd> DerefMut for FileLock<F> {
    fn deref_mut(&mut self) -> &mut F {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_lock_lasts_as_long_as_any_copy_of_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::open(dir.path()).unwrap();
        let lock = FileLock::try_exclusive(open()).unwrap().unwrap();
        assert!(FileLock::try_exclusive(open()).unwrap().is_none());
        assert!(FileLock::try_shared(open()).unwrap().is_none() && FileLock::is_held(open()).unwrap());
        let stdin = Stdio::from(lock.as_fd().try_clone_to_owned().unwrap());
        let mut child = Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
        drop(lock);
        assert!(FileLock::try_exclusive(open()).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        // A child of another test has the descriptor until it executes its program.
        FileLock::exclusive(open()).unwrap().unlock().unwrap();
        let shared = || {
            (0..1000).find_map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                FileLock::try_shared(open()).unwrap()
            })
        };
        let both = (shared().unwrap(), shared().unwrap());
        assert!(FileLock::try_exclusive(open()).unwrap().is_none());
        assert!(!FileLock::is_held(open()).unwrap(), "they only look");
        drop(both);
    }
}
