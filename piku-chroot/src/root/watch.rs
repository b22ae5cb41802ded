//! Changes of what a root with the host's programs is made of. A prepared root shows what was there when it was made:
//! live directories, but also copies of small files, and files that may since have been replaced.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, Stat, statat};
use rustix::io::Errno;
use std::os::fd::AsFd;

use crate::hostfiles::HOST_FILES;
use crate::plan::BASE_DIRECTORIES;
use crate::root::base::OpenedBase;
use crate::root::etc;

/// Watches the host's mounts, its `/etc` and the directories of its programs.
#[derive(Debug)]
pub struct HostRootWatch {
    /// The list of mounts, which is never read.
    mounts: File,
    /// Number of times at which the mounts were seen to have changed.
    changes: u64,
}

impl HostRootWatch {
    /// Begins to watch the mounts.
    ///
    /// # Errors
    /// Fails if /proc cannot be read.
    pub fn open() -> io::Result<Self> {
        Ok(Self { mounts: File::open("/proc/thread-self/mountinfo")?, changes: 0 })
    }

    /// Returns a number that stays the same as long as a new root would show the same, except for the files that each
    /// jail keeps up to date.
    ///
    /// # Errors
    /// Fails if the files cannot be looked at.
    pub fn state(&mut self) -> Result<u64> {
        // The kernel reports each change of the mounts once, as an error.
        let mut fds = [PollFd::new(&self.mounts, PollFlags::PRI)];
        poll(&mut fds, Some(&Timespec::default()))
            .map_err(io::Error::from)
            .context("cannot ask for mounts")?;
        if fds[0].revents().contains(PollFlags::ERR) {
            self.changes += 1;
        }
        let mut state = DefaultHasher::new();
        self.changes.hash(&mut state);
        let base = OpenedBase::open(Path::new("/"))?;
        for name in BASE_DIRECTORIES {
            hash_entry(&base, Path::new(name), &mut state)?;
        }
        for (path, folder, entries) in etc::list_shown(&base, &HOST_FILES)? {
            path.hash(&mut state);
            for entry in entries {
                entry.name.hash(&mut state);
                hash_entry(&folder, Path::new(&entry.name), &mut state)?;
            }
        }
        Ok(state.finish())
    }
}

/// Adds an entry of a directory: of a directory only which one it is, since it is shown as it is at any time; of a
/// symlink also where it leads.
fn hash_entry(folder: impl AsFd, name: &Path, state: &mut DefaultHasher) -> Result<()> {
    let mut flags = AtFlags::SYMLINK_NOFOLLOW;
    loop {
        let stat = match statat(&folder, name, flags) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => break,
            Err(err) => return Err(err).with_context(|| format!("cannot look at '{}'", name.display())),
        };
        hash_stat(&stat, state);
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            break;
        }
        flags = AtFlags::empty();
    }
    // An end, so that no two lists of entries look the same.
    state.write_u8(0);
    Ok(())
}

fn hash_stat(stat: &Stat, state: &mut DefaultHasher) {
    (stat.st_dev, stat.st_ino, stat.st_mode).hash(state);
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        (stat.st_size, stat.st_ctime, stat.st_ctime_nsec).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sched::{CloneFlags, unshare};
    use nix::unistd::geteuid;
    use rustix::fs::CWD;
    use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};

    use super::*;

    #[test]
    fn entries_that_a_root_would_show_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let (entry, new) = (dir.path().join("entry"), dir.path().join("new"));
        let mut before = None;
        let mut expect = |is_changed: bool, what: &str| {
            let mut hasher = DefaultHasher::new();
            hash_entry(CWD, &entry, &mut hasher).unwrap();
            let now = Some(hasher.finish());
            assert_eq!(before != now, is_changed, "{what}");
            before = now;
        };
        expect(true, "at first");
        expect(false, "still missing");
        fs::write(&entry, "one").unwrap();
        expect(true, "made");
        fs::write(&entry, "four").unwrap();
        expect(true, "written in place");
        fs::write(&new, "five").unwrap();
        fs::rename(&new, &entry).unwrap();
        expect(true, "replaced");
        expect(false, "the same file");
        fs::write(&new, "six").unwrap();
        symlink(&new, dir.path().join("link")).unwrap();
        fs::rename(dir.path().join("link"), &entry).unwrap();
        expect(true, "a symlink in its place");
        fs::write(&new, "sixty").unwrap();
        expect(true, "another content behind the symlink");
        fs::remove_file(&new).unwrap();
        expect(true, "nothing behind the symlink");
        fs::remove_file(&entry).unwrap();
        fs::create_dir(&entry).unwrap();
        expect(true, "a directory");
        fs::write(entry.join("in it"), "").unwrap();
        expect(false, "a directory is shown as it is");
    }

    #[test]
    fn mounts_that_come_and_go() {
        if !geteuid().is_root() {
            return;
        }
        // Namespaces of this thread alone.
        let watched = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let mut watch = HostRootWatch::open().unwrap();
            let first = watch.state().unwrap();
            assert_eq!(watch.state().unwrap(), first);
            mount_bind(dir.path(), dir.path()).unwrap();
            let second = watch.state().unwrap();
            assert_eq!(watch.state().unwrap(), second);
            unmount(dir.path(), UnmountFlags::empty()).unwrap();
            let third = watch.state().unwrap();
            assert!(first != second && second != third && third != first);
        });
        watched.join().unwrap();
    }
}
