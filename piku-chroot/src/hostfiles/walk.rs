//! The way to a file of the host's, link by link: each part is opened by itself and looked at, so that what an app could
//! have put there is noticed, and each folder is remembered, since a change in it may change where the way leads.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::hostfiles::trust::TrustedIdentities;
use crate::sys;

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// The result of a walk: what stands at the end of its path.
pub(super) enum WalkEnd {
    /// No regular file that we may read.
    Nothing,
    /// A file, and where the path itself leads when it is a link.
    File { file: File, size: u64, first_link: Option<PathBuf> },
    /// An app could have written this, so it is not looked at.
    Writable(PathBuf),
}

/// Walks that share what they have opened.
pub(super) struct PathWalk<'a> {
    trust: &'a TrustedIdentities,
    root: Rc<OwnedFd>,
    /// Each once, by device and number.
    folders: Vec<((u64, u64), Rc<OwnedFd>)>,
    /// The folder that the last walk went into first, which the next one need not look at again.
    first: Option<(OsString, WalkFolder)>,
    /// Set when the kernel is to report changes in them.
    watches: bool,
    /// True if it does so for all of them.
    told: bool,
}

/// A folder on the way, its path for a message, and what it lies on.
#[derive(Clone)]
struct WalkFolder {
    folder: Rc<OwnedFd>,
    path: PathBuf,
    device: u64,
}

impl<'a> PathWalk<'a> {
    pub(super) fn begin(trust: &'a TrustedIdentities, watches: bool) -> io::Result<Self> {
        let root = Rc::new(open(CWD, OsStr::new("/"), OFlags::DIRECTORY)?);
        Ok(Self { trust, root, folders: Vec::new(), first: None, watches, told: watches })
    }

    /// Returns the folders that were gone through, but for the root, and whether the kernel tells of changes in all of them.
    pub(super) fn into_folders(self) -> (Vec<OwnedFd>, bool) {
        drop(self.first);
        (self.folders.into_iter().filter_map(|(_, folder)| Rc::into_inner(folder)).collect(), self.told)
    }

    /// Goes where an absolute path leads.
    pub(super) fn follow(&mut self, path: &Path) -> io::Result<WalkEnd> {
        let mut way: VecDeque<OsString> = parts(path).collect();
        let top = WalkFolder { folder: Rc::clone(&self.root), path: PathBuf::from("/"), device: 0 };
        let mut places = vec![top];
        if let Some((_, first)) = self.first.as_ref().filter(|(name, _)| way.front() == Some(name)) {
            way.pop_front();
            places.push(first.clone());
        }
        let (mut links, mut first_link) = (0, None);
        while let Some(name) = way.pop_front() {
            if name == ".." {
                places.truncate(places.len().saturating_sub(1).max(1));
                continue;
            }
            let Some(here) = places.last().cloned() else { break };
            let path = here.path.join(&name);
            let opened = match open(&here.folder, &name, OFlags::empty()) {
                // A folder that others may only go through; the kernel does not tell of changes in it.
                Err(Errno::ACCESS) if !way.is_empty() => {
                    open(&here.folder, &name, OFlags::PATH | OFlags::DIRECTORY)
                }
                opened => opened,
            };
            let opened = match opened {
                Ok(fd) => fd,
                Err(Errno::LOOP) => {
                    let Some((target, stat)) = link(&here.folder, &name)? else {
                        return Ok(WalkEnd::Nothing);
                    };
                    links += 1;
                    if links > MOST_LINKS {
                        return Ok(WalkEnd::Nothing);
                    }
                    if !self.trust.has(&stat) {
                        return Ok(WalkEnd::Writable(path));
                    }
                    if way.is_empty() && links == 1 {
                        first_link = Some(target.clone());
                    }
                    if target.is_absolute() {
                        places.truncate(1);
                    }
                    let rest = std::mem::take(&mut way);
                    way = parts(&target).chain(rest).collect();
                    continue;
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::NXIO) => {
                    // The root is not watched: what is made in it later is looked for.
                    self.told &= places.len() > 1;
                    return Ok(WalkEnd::Nothing);
                }
                Err(err) => return Err(err.into()),
            };
            let stat = fstat(&opened)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if matches!(kind, FileType::Directory | FileType::RegularFile) && !self.trust.has(&stat) {
                return Ok(WalkEnd::Writable(path));
            }
            let (device, number) = (stat.st_dev, stat.st_ino);
            match kind {
                FileType::Directory => {
                    let place = WalkFolder { folder: self.remember((device, number), opened), path, device };
                    if places.len() == 1 && self.first.is_none() {
                        self.first = Some((name, place.clone()));
                    }
                    places.push(place);
                }
                FileType::RegularFile if way.is_empty() => {
                    // Mounted by itself, as containers have it, it is written in place without a word to its folder here.
                    self.told &= device == here.device;
                    let size = u64::try_from(stat.st_size).unwrap_or_default();
                    return Ok(WalkEnd::File { file: File::from(opened), size, first_link });
                }
                _ => return Ok(WalkEnd::Nothing),
            }
        }
        Ok(WalkEnd::Nothing)
    }

    fn remember(&mut self, which: (u64, u64), opened: OwnedFd) -> Rc<OwnedFd> {
        if let Some((_, known)) = self.folders.iter().find(|(other, _)| *other == which) {
            return Rc::clone(known);
        }
        // Before anything is looked up in it: no change can come in between.
        self.told &= self.watches && sys::notify_of_changes(&opened).is_ok();
        let folder = Rc::new(opened);
        self.folders.push((which, Rc::clone(&folder)));
        folder
    }
}

/// The parts of a path, `..` among them.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

/// Opens what has this name, and waits for nobody.
fn open(folder: impl AsFd, name: &OsStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags | more, Mode::empty())
}

/// Where a link leads, and what it is; `None` when it is gone.
fn link(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<(PathBuf, Stat)>> {
    let read = || -> Result<_, Errno> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((OsString::from_vec(readlinkat(folder, name, Vec::new())?.into_bytes()).into(), stat))
    };
    match read() {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(err) => Err(err.into()),
    }
}
