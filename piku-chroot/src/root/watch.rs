//! Changes of what a root with the host's programs is made of. A prepared root shows what was there when it was made:
//! live directories, but also copies of small files, and files that may since have been replaced.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, FileType, Stat, statat};
use rustix::io::Errno;

use crate::hostfiles::HOST_FILES;
use crate::jail;
use crate::plan::BASE_DIRECTORIES;
use crate::root::base::OpenedBase;
use crate::root::etc;

/// Directories below which mounts come and go with sessions, containers and disks, and which no root shows: where an
/// entry of `/etc` leads into one, the file or directory at its end is looked at.
const ELSEWHERE: [&str; 11] =
    ["/boot", "/home", "/media", "/mnt", "/proc", "/root", "/run", "/srv", "/sys", "/tmp", "/var"];

/// Watches the host's mounts, its `/etc` and the directories of its programs.
#[derive(Debug)]
pub struct HostRootWatch {
    /// The list of mounts.
    mounts: File,
    /// Number of times at which they were seen to have changed.
    changes: u64,
    /// That number when the list was read, and the hash of those mounts that a root may show.
    shown: Option<(u64, u64)>,
}

impl HostRootWatch {
    /// Begins to watch the mounts.
    ///
    /// # Errors
    /// Fails if /proc cannot be read.
    pub fn open() -> io::Result<Self> {
        Ok(Self { mounts: File::open("/proc/thread-self/mountinfo")?, changes: 0, shown: None })
    }

    /// Returns a number that stays the same as long as a new root would show the same, except for the files that each
    /// jail keeps up to date.
    ///
    /// # Errors
    /// Fails if the files cannot be looked at.
    pub fn state(&mut self) -> Result<u64> {
        self.state_with(&jail::find_program())
    }

    /// Returns it for roots that this program makes: after an upgrade, the new one makes its own.
    fn state_with(&mut self, program: &Path) -> Result<u64> {
        let mut state = DefaultHasher::new();
        hash_entry(CWD, program, &mut state)?;
        self.shown_mounts()?.hash(&mut state);
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

    /// Returns a number that stays the same as long as no mount of the host comes or goes, wherever it is.
    ///
    /// # Errors
    /// Fails if the kernel does not say.
    pub fn mount_changes(&mut self) -> Result<u64> {
        // The kernel reports each change once, as an error.
        let mut fds = [PollFd::new(&self.mounts, PollFlags::PRI)];
        poll(&mut fds, Some(&Timespec::default()))
            .map_err(io::Error::from)
            .context("cannot ask for mounts")?;
        if fds[0].revents().contains(PollFlags::ERR) {
            self.changes += 1;
        }
        Ok(self.changes)
    }

    /// Returns a hash of the mounts that a root may show, which are read again only after a change.
    fn shown_mounts(&mut self) -> Result<u64> {
        let changes = self.mount_changes()?;
        match self.shown {
            Some((then, shown)) if then == changes => Ok(shown),
            _ => {
                let shown = hash_mounts(&self.mounts).context("cannot read the list of mounts")?;
                self.shown = Some((changes, shown));
                Ok(shown)
            }
        }
    }
}

/// Returns a hash of the lines about mounts that a root may show. A mount that takes another's place has another line, or
/// shows the same: what a prepared root shows keeps its device number.
fn hash_mounts(mut list: &File) -> io::Result<u64> {
    list.rewind()?;
    let mut state = DefaultHasher::new();
    let mut lines = BufReader::new(list);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        // The fifth word is the mount point.
        let place = line.split(|byte| *byte == b' ').nth(4).map(OsStr::from_bytes).unwrap_or_default();
        if !ELSEWHERE.iter().any(|folder| Path::new(place).starts_with(folder)) {
            line.hash(&mut state);
        }
        line.clear();
    }
    Ok(state.finish())
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
        // Beyond the resolution of the file system's clock.
        std::thread::sleep(std::time::Duration::from_millis(30));
        fs::write(&entry, "five").unwrap();
        expect(true, "written in place with the same size");
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
    fn an_upgrade_of_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let (program, new) = (dir.path().join("program"), dir.path().join("new"));
        fs::write(&program, "one").unwrap();
        let mut watch = HostRootWatch::open().unwrap();
        let state = |watch: &mut HostRootWatch| watch.state_with(&program).unwrap();
        let before = state(&mut watch);
        assert_eq!(state(&mut watch), before);
        fs::write(&new, "two").unwrap();
        fs::rename(&new, &program).unwrap();
        assert_ne!(state(&mut watch), before);
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
            let mut watch = HostRootWatch::open().unwrap();
            let first = watch.state().unwrap();
            assert_eq!(watch.state().unwrap(), first);
            // A disk, a container or a session.
            let dir = tempfile::tempdir_in("/var/tmp").unwrap();
            mount_bind(dir.path(), dir.path()).unwrap();
            assert_eq!(watch.state().unwrap(), first);
            let (share, games) = (Path::new("/usr/share"), Path::new("/usr/games"));
            mount_bind(share, games).unwrap();
            let second = watch.state().unwrap();
            assert_eq!(watch.state().unwrap(), second);
            unmount(dir.path(), UnmountFlags::empty()).unwrap();
            assert_eq!(watch.state().unwrap(), second);
            // Another one in its place, and none.
            unmount(games, UnmountFlags::empty()).unwrap();
            mount_bind(dir.path(), games).unwrap();
            let third = watch.state().unwrap();
            unmount(games, UnmountFlags::empty()).unwrap();
            let fourth = watch.state().unwrap();
            assert!(
                first != second && second != third && third != fourth,
                "{first} {second} {third} {fourth}"
            );
            assert_eq!(first, fourth);
            let changes = watch.mount_changes().unwrap();
            assert_eq!(watch.mount_changes().unwrap(), changes);
            mount_bind(share, games).unwrap();
            unmount(games, UnmountFlags::empty()).unwrap();
            assert!(watch.mount_changes().unwrap() > changes);
            assert_eq!(watch.state().unwrap(), first);
        });
        watched.join().unwrap();
    }
}
