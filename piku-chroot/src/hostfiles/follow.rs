//! Keeps a jail's copies of the host's files as the host has them, for as long as the jail lives.
//!
//! The monitor is told of changes by `SIGIO` (dnotify): unlike inotify, whose instances the kernel counts a user, it needs
//! nothing but an open folder, and the monitor waits for signals anyway. It writes through a descriptor of the jail's own
//! `/etc` that the stub has handed out, by a file beside and a rename, so that nobody inside ever reads half of one.
//! Inside, `/etc` is read-only; nothing of the host's folders appears there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use rustix::fs::{AtFlags, Mode, OFlags, openat, readlinkat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::hostfiles::{FileContent, HostFiles, HostSnapshot};

/// Comes when something may have changed.
pub(crate) const CHANGED: Signal = Signal::SIGIO;
/// The interval between looks at the files where the kernel does not report changes (it has no dnotify, or
/// fs.dir-notify-enable is 0).
const UNTOLD: Duration = Duration::from_secs(60);
/// A file before it has its name. No program looks for that.
const NEW: &str = ".piku-chroot-new";

/// The files, and the jail that they are kept up to date in.
#[derive(Debug)]
pub(crate) struct FollowedFiles {
    files: HostFiles,
    /// The contents of the files at the beginning, until the stub has them.
    first: Vec<(&'static str, FileContent)>,
    /// Those of the host that are watched, as long as they are open.
    folders: Vec<OwnedFd>,
    /// True if the kernel reports changes in all of them.
    told: bool,
    /// The jail's `/etc`, once that is there.
    etc: Option<OwnedFd>,
}

impl FollowedFiles {
    /// Reads the files and begins to watch them. [`CHANGED`] must be blocked.
    pub(crate) fn begin(files: HostFiles) -> Result<Self> {
        let HostSnapshot { files: first, folders, told } =
            files.read(true, true).context("cannot read the host's /etc")?;
        Ok(Self { files, first, folders, told, etc: None })
    }

    /// Takes what the files held at the beginning.
    pub(crate) fn take_first(&mut self) -> Vec<(&'static str, FileContent)> {
        std::mem::take(&mut self.first)
    }

    /// Closes the host's folders. For the stub, whose copies of them nobody needs.
    pub(crate) fn close_folders(&mut self) {
        self.folders.clear();
    }

    /// Returns whether there is anything to follow.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// From now on changes are written to this folder. What has changed since [`Self::begin`] is told by a signal that waits.
    pub(crate) fn write_to(&mut self, etc: OwnedFd) {
        self.etc = Some(etc);
    }

    /// Returns how long to wait for a signal at most; `None` is for ever.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (self.etc.is_some() && !self.told).then_some(UNTOLD)
    }

    /// Brings the jail's files up to date. What fails is tried again at the next change: a worker is not ended for it.
    pub(crate) fn update(&mut self) {
        let Some(etc) = &self.etc else { return };
        let Ok(now) = self.files.read(true, false) else { return };
        for (name, content) in &now.files {
            if current(etc, name).ok().as_ref() != Some(content) {
                let _ = replace(etc, name, content);
            }
        }
        (self.folders, self.told) = (now.folders, now.told);
    }
}

/// Returns what the jail has under this name.
fn current(etc: &OwnedFd, name: &str) -> Result<FileContent, Errno> {
    match readlinkat(etc, name, Vec::new()) {
        Ok(target) => {
            let target = std::os::unix::ffi::OsStringExt::from_vec(target.into_bytes());
            return Ok(FileContent::Link(std::ffi::OsString::into(target)));
        }
        Err(Errno::NOENT) => return Ok(FileContent::Absent),
        Err(_) => {}
    }
    let file = openat(etc, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    File::from(file).read_to_end(&mut text).map_err(|_| Errno::IO)?;
    Ok(FileContent::Text(text))
}

/// Puts this under the name, in one step.
fn replace(etc: &OwnedFd, name: &str, content: &FileContent) -> io::Result<()> {
    let _ = unlinkat(etc, NEW, AtFlags::empty());
    match content {
        FileContent::Absent => return Ok(unlinkat(etc, name, AtFlags::empty())?),
        FileContent::Text(text) => write(etc, Path::new(NEW), text)?,
        FileContent::Link(target) => symlinkat(target, etc, NEW)?,
    }
    Ok(renameat(etc, NEW, etc, name)?)
}

fn write(etc: impl AsFd, name: &Path, text: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Whatever the caller's umask is, the jail's user may be another.
    let file = openat(etc, name, flags, Mode::from_raw_mode(0o644))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    File::from(file).write_all(text)
}
