//! Follows the path of a host's file symlink by symlink. Each part is opened and checked, so that a part that
//! an app could have made is noticed, and each directory is remembered, since a change in it may change where
//! the path leads.

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

/// The kernel's own limit.
const MOST_LINKS: usize = 40;

pub(super) enum WalkEnd {
    /// No regular file that we may read.
    Nothing,
    File {
        file: File,
        size: u64,
    },
    /// The path itself is a symlink with this target, which the caller accepts: nothing behind it was opened.
    Link(PathBuf),
    /// An app could have written this part of the path, so the walk stops.
    Writable(PathBuf),
}

/// Walks that share opened directories.
pub(super) struct PathWalk<'a> {
    trust: &'a TrustedIdentities,
    root: Rc<OwnedFd>,
    /// Each directory once, by device and inode.
    folders: Vec<((u64, u64), Rc<OwnedFd>)>,
    /// First directory of the last walk, which the next walk need not check again.
    first: Option<(OsString, WalkFolder)>,
    /// Let the kernel report changes in the directories.
    watches: bool,
    /// Set if it does so for all of them.
    fully_watched: bool,
}

/// A directory of a walk, its path for messages, and its device.
#[derive(Clone)]
struct WalkFolder {
    folder: Rc<OwnedFd>,
    path: PathBuf,
    device: u64,
}

impl<'a> PathWalk<'a> {
    pub(super) fn new(trust: &'a TrustedIdentities, watches: bool) -> io::Result<Self> {
        let root = Rc::new(open_entry(CWD, OsStr::new("/"), OFlags::DIRECTORY)?);
        Ok(Self { trust, root, folders: Vec::new(), first: None, watches, fully_watched: watches })
    }

    /// Returns the directories of the walks, without the root, and whether the kernel reports changes in all
    /// of them.
    pub(super) fn into_folders(self) -> (Vec<OwnedFd>, bool) {
        drop(self.first);
        (
            self.folders.into_iter().filter_map(|(_, folder)| Rc::into_inner(folder)).collect(),
            self.fully_watched,
        )
    }

    /// Follows an absolute path to its end, or to a symlink at that path with a target that `is_end` accepts.
    pub(super) fn follow(&mut self, path: &Path, is_end: impl Fn(&Path) -> bool) -> io::Result<WalkEnd> {
        let mut way: VecDeque<OsString> = path_parts(path).collect();
        let top = WalkFolder { folder: Rc::clone(&self.root), path: PathBuf::from("/"), device: 0 };
        let mut places = vec![top];
        if let Some((_, first)) = self.first.as_ref().filter(|(name, _)| way.front() == Some(name)) {
            way.pop_front();
            places.push(first.clone());
        }
        let mut links = 0;
        while let Some(name) = way.pop_front() {
            if name == ".." {
                places.truncate(places.len().saturating_sub(1).max(1));
                continue;
            }
            let Some(here) = places.last().cloned() else { break };
            let path = here.path.join(&name);
            let opened = match open_entry(&here.folder, &name, OFlags::empty()) {
                // A directory that others may only pass through; the kernel reports no changes in it.
                Err(Errno::ACCESS) if !way.is_empty() => {
                    open_entry(&here.folder, &name, OFlags::PATH | OFlags::DIRECTORY)
                }
                opened => opened,
            };
            let opened = match opened {
                Ok(fd) => fd,
                Err(Errno::LOOP) => {
                    let Some((target, stat)) = read_symlink(&here.folder, &name)? else {
                        return Ok(WalkEnd::Nothing);
                    };
                    links += 1;
                    if links > MOST_LINKS {
                        return Ok(WalkEnd::Nothing);
                    }
                    if !self.trust.is_safe(&stat) {
                        return Ok(WalkEnd::Writable(path));
                    }
                    if way.is_empty() && links == 1 && is_end(&target) {
                        return Ok(WalkEnd::Link(target));
                    }
                    if target.is_absolute() {
                        places.truncate(1);
                    }
                    let rest = std::mem::take(&mut way);
                    way = path_parts(&target).chain(rest).collect();
                    continue;
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::NXIO) => {
                    // The root is not watched: something may be made in it later.
                    self.fully_watched &= places.len() > 1;
                    return Ok(WalkEnd::Nothing);
                }
                Err(err) => return Err(err.into()),
            };
            let stat = fstat(&opened)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if matches!(kind, FileType::Directory | FileType::RegularFile) && !self.trust.is_safe(&stat) {
                return Ok(WalkEnd::Writable(path));
            }
            let (device, number) = (stat.st_dev, stat.st_ino);
            match kind {
                FileType::Directory => {
                    let place =
                        WalkFolder { folder: self.share_directory((device, number), opened), path, device };
                    if places.len() == 1 && self.first.is_none() {
                        self.first = Some((name, place.clone()));
                    }
                    places.push(place);
                }
                FileType::RegularFile if way.is_empty() => {
                    // A file that is a mount of its own, as in containers, is written in place and its
                    // directory does not change.
                    self.fully_watched &= device == here.device;
                    let size = u64::try_from(stat.st_size).unwrap_or_default();
                    return Ok(WalkEnd::File { file: File::from(opened), size });
                }
                _ => return Ok(WalkEnd::Nothing),
            }
        }
        Ok(WalkEnd::Nothing)
    }

    fn share_directory(&mut self, which: (u64, u64), opened: OwnedFd) -> Rc<OwnedFd> {
        if let Some((_, known)) = self.folders.iter().find(|(other, _)| *other == which) {
            return Rc::clone(known);
        }
        // Before anything is looked up in it, so that no change is missed.
        self.fully_watched &= self.watches && sys::notify_of_changes(&opened).is_ok();
        let folder = Rc::new(opened);
        self.folders.push((which, Rc::clone(&folder)));
        folder
    }
}

/// Returns the parts of a path, including `..`.
fn path_parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

/// Opens an entry without blocking.
fn open_entry(folder: impl AsFd, name: &OsStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags | more, Mode::empty())
}

/// Reads a symlink and its metadata; `None` if it has gone.
fn read_symlink(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<(PathBuf, Stat)>> {
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
