//! Keeps a jail's copies of the host's files up to date as long as the jail lives.
//!
//! The kernel reports changes to the monitor by `SIGIO` (dnotify): unlike inotify, whose instances are
//! limited for each user, it needs only an open directory, and the monitor waits for signals anyway. The
//! monitor writes through a descriptor of the jail's `/etc` that init has sent. It writes a new file and
//! renames it, so that no process inside reads half a file. In the jail `/etc` is read-only, and no directory
//! of the host appears there.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, readlinkat, renameat, statat, symlinkat, unlinkat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::hostfiles::{FileContent, HostFiles, HostSnapshot};
use crate::sys;

/// Signal for a possible change.
pub(crate) const CHANGED: Signal = Signal::SIGIO;
/// Interval between reads if the kernel reports no changes (it lacks dnotify, or fs.dir-notify-enable is 0).
const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// Bound of updates when a jail has ended.
const LAST_UPDATES: u32 = 3;
/// Prefix of the temporary name of a new file, before a random number; no program looks for it.
const NEW: &str = ".piku-chroot-new.";
/// Age of a temporary file whose writer was killed: a write takes milliseconds.
const STALE: Duration = Duration::from_secs(60);
/// Bound of attempts to write a file. After a jump of the clock, another writer may take the new file for a stale one.
const ATTEMPTS: u32 = 3;

/// The files, and the jail in which they are kept up to date.
#[derive(Debug)]
pub(crate) struct FollowedFiles {
    files: HostFiles,
    /// Contents of the files at the start, until the jail has them.
    first: Vec<(&'static str, FileContent)>,
    /// Watched directories of the host; watched as long as they are open.
    folders: Vec<OwnedFd>,
    /// Set if the kernel reports changes in all of them.
    fully_watched: bool,
    /// The jail's `/etc`, once it exists.
    etc: Option<OwnedFd>,
}

impl FollowedFiles {
    pub(crate) fn new(files: HostFiles) -> Self {
        Self { files, first: Vec::new(), folders: Vec::new(), fully_watched: false, etc: None }
    }

    /// Returns the names of the files.
    pub(crate) fn names(&self) -> &[&'static str] {
        self.files.names()
    }

    /// Reads the files and begins to watch them. [`CHANGED`] must be blocked.
    pub(crate) fn watch(&mut self) -> Result<()> {
        if !self.names().is_empty() {
            let now = self.files.read(true, true).context("cannot read the host's /etc")?;
            let HostSnapshot { files, folders, fully_watched } = now;
            (self.first, self.folders, self.fully_watched) = (files, folders, fully_watched);
        }
        Ok(())
    }

    /// Writes the files to the jail's `/etc`, as later changes will be. A change since [`Self::watch`] has left
    /// a pending signal.
    pub(crate) fn write_to(&mut self, etc: OwnedFd) -> Result<()> {
        let first = std::mem::take(&mut self.first);
        bring_up_to_date(&etc, &first).context("cannot bring /etc up to date")?;
        self.etc = Some(etc).filter(|_| !self.names().is_empty());
        Ok(())
    }

    /// Returns how long to wait for a signal; `None` is forever.
    pub(crate) fn poll_interval(&self) -> Option<Duration> {
        (self.etc.is_some() && !self.fully_watched).then_some(POLL_INTERVAL)
    }

    /// Updates the jail's files. A failure is tried again at the next change, since it must not end the
    /// command.
    pub(crate) fn update(&mut self) {
        let Some(etc) = &self.etc else { return };
        let Ok(now) = self.files.read(true, false) else { return };
        let _ = bring_up_to_date(etc, &now.files);
        (self.folders, self.fully_watched) = (now.folders, now.fully_watched);
    }

    /// Writes what has changed when the jail has ended: this process may be the last that has written a file which other
    /// jails share, with a content that was old by then.
    pub(crate) fn finish(&mut self) {
        for _ in 0..LAST_UPDATES {
            if !is_change_pending() {
                break;
            }
            self.update();
        }
    }
}

/// Returns whether the kernel has reported a change since the last time that this was asked.
fn is_change_pending() -> bool {
    let changed = SigSet::from(CHANGED);
    matches!(sys::wait_for_signal(&changed, Some(Duration::ZERO)), Ok(Some(_)))
}

/// Returns the content in the jail.
fn read_current(etc: &OwnedFd, name: &str) -> Result<FileContent, Errno> {
    match readlinkat(etc, name, Vec::new()) {
        Ok(target) => {
            let target = std::os::unix::ffi::OsStringExt::from_vec(target.into_bytes());
            return Ok(FileContent::Link(std::ffi::OsString::into(target)));
        }
        Err(Errno::NOENT) => return Ok(FileContent::Absent),
        Err(_) => {}
    }
    // Without waiting for a lease, which the command could take where no filter refuses it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(etc, name, flags, Mode::empty())?;
    let mut text = Vec::new();
    File::from(file).read_to_end(&mut text).map_err(|_| Errno::IO)?;
    Ok(FileContent::Text(text))
}

/// Writes those of these files that differ. An `/etc` that several jails share has several writers.
///
/// # Errors
/// Fails with the first file that could not be written, after trying all.
pub(crate) fn bring_up_to_date(etc: &OwnedFd, files: &[(&'static str, FileContent)]) -> io::Result<()> {
    let mut result = Ok(());
    for (name, content) in files {
        if read_current(etc, name).ok().as_ref() != Some(content) {
            result = result.and(replace_file(etc, name, content));
        }
    }
    result
}

/// Replaces a file by a rename, so that no process reads half of it.
fn replace_file(etc: &OwnedFd, name: &str, content: &FileContent) -> io::Result<()> {
    // Costs nothing but time.
    let _ = remove_stale_at(etc, SystemTime::now());
    for _ in 1..ATTEMPTS {
        match try_replace_file(etc, name, content) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    try_replace_file(etc, name, content)
}

fn try_replace_file(etc: &OwnedFd, name: &str, content: &FileContent) -> io::Result<()> {
    // Never used twice, so that a name that was found stale is not that of a new file by the time it is removed.
    let mut random = [0; 8];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let new = format!("{NEW}{:016x}", u64::from_ne_bytes(random));
    match content {
        FileContent::Absent => {
            return match unlinkat(etc, name, AtFlags::empty()) {
                // Another writer was faster.
                Err(Errno::NOENT) => Ok(()),
                removed => Ok(removed?),
            };
        }
        FileContent::Text(text) => write_new(etc, Path::new(&new), text)?,
        FileContent::Link(target) => symlinkat(target, etc, &new)?,
    }
    Ok(renameat(etc, &new, etc, name)?)
}

/// Removes what killed writers have left: a prepared root has them as long as the app's supervisor runs.
fn remove_stale_at(etc: &OwnedFd, now: SystemTime) -> io::Result<()> {
    for entry in Dir::read_from(etc)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(NEW.as_bytes()) && is_stale_at(etc, name, now) {
            unlinkat(etc, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

fn is_stale_at(etc: &OwnedFd, name: &CStr, now: SystemTime) -> bool {
    let Ok(stat) = statat(etc, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    let Ok(changed) = u64::try_from(stat.st_ctime) else { return false };
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed);
    now.duration_since(changed).is_ok_and(|age| age > STALE)
}

fn write_new(etc: impl AsFd, name: &Path, text: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Independent of the caller's umask: the jail may run as another user.
    let file = openat(etc, name, flags, Mode::from_raw_mode(0o644))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    File::from(file).write_all(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_killed_writers_have_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let etc = OwnedFd::from(File::open(dir.path()).unwrap());
        fs::write(dir.path().join(".piku-chroot-new.1"), "half").unwrap();
        std::os::unix::fs::symlink("x", dir.path().join(".piku-chroot-new.2")).unwrap();
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let old = |name: &CStr| is_stale_at(&etc, name, SystemTime::now() + STALE * 2);
        assert!(old(c".piku-chroot-new.1") && old(c".piku-chroot-new.2") && !old(c"missing"));
        for number in 0..3 {
            let text = FileContent::Text(format!("{number}").into_bytes());
            bring_up_to_date(&etc, &[("hosts", text)]).unwrap();
        }
        assert_eq!(names(), [".piku-chroot-new.1", ".piku-chroot-new.2", "hosts"], "they may be under way");
        remove_stale_at(&etc, SystemTime::now() + STALE * 2).unwrap();
        assert_eq!(names(), ["hosts"]);
    }

    #[test]
    fn a_leased_file_is_replaced_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = dir.path().join("hosts");
        fs::write(&hosts, "old").unwrap();
        let lease = r#"$SIG{IO} = "IGNORE"; open F, "<", $ARGV[0]; fcntl F, 1024, 1 or die; $| = 1; print "leased\n"; <STDIN>"#;
        let mut perl = Command::new("perl");
        perl.args(["-e", lease]).arg(&hosts).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = perl.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let etc = OwnedFd::from(File::open(dir.path()).unwrap());
        let read = read_current(&etc, "hosts");
        let replaced = bring_up_to_date(&etc, &[("hosts", FileContent::Text(b"new".to_vec()))]);
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert_eq!((line.as_str(), read), ("leased\n", Err(Errno::AGAIN)));
        replaced.unwrap();
        assert_eq!(fs::read_to_string(&hosts).unwrap(), "new");
    }
}
