//! The folder of `--data` changes hands: all in it that is `from` becomes `to`, through the map, with the rights that the
//! jail's maker has over these two users and no others.
//!
//! The tree may be hostile, and others may change it at the same time. No link is followed and no other mount entered, so
//! whatever is reached lies in the folder. A file with a hard link that is not found in the folder is left alone: it may
//! be a file of the caller's that an app without a jail has linked there.
//!
//! Killed in the middle, the next start does all of it again: the folder itself is last. Until then its group says that
//! it is under way, which matters when the next start goes the other way.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use piku_report::user_error::{UserError, tell};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, fstat, openat2,
};
use rustix::io::Errno;

use crate::errors::SETUP_FAILED;
use crate::errors::quoted;
use crate::ids::caller::CallerIdentity;
use crate::root::tree;

/// A path of that many bytes is long: the kernel takes 4095, and a name has at most 255.
const LONG: usize = 3500;

/// Makes the folder `own`'s where it is the caller's.
pub(crate) fn take(dir: &Path, caller: CallerIdentity, own: CallerIdentity) -> Result<()> {
    let top = open(dir)?;
    let stat = look(&top, dir)?;
    if stat.st_uid == own.uid.as_raw() {
        return Ok(());
    }
    // With the caller's uid that of "nobody", which stands for everybody unknown here, this is not certain yet.
    ensure!(stat.st_uid == caller.uid.as_raw(), foreign(dir));
    change_hands(top, dir, (caller, own), caller, own)
}

/// Makes the folder the caller's where it is `own`'s, or was to become that.
pub(crate) fn give_back(dir: &Path, caller: CallerIdentity, own: CallerIdentity) -> Result<()> {
    let top = open(dir)?;
    let stat = look(&top, dir)?;
    let under_way = stat.st_uid == caller.uid.as_raw() && stat.st_gid == own.gid.as_raw();
    if stat.st_uid != own.uid.as_raw() && !under_way {
        ensure!(stat.st_uid == caller.uid.as_raw(), foreign(dir));
        return Ok(());
    }
    change_hands(top, dir, (own, caller), caller, own)
}

/// A change under way.
struct OwnerChange<'a> {
    dir: &'a Path,
    caller: CallerIdentity,
    from: CallerIdentity,
    to: CallerIdentity,
    /// Files with more than one link, by device and inode.
    links: HashMap<(u64, u64), LinkedFile>,
    /// What stays as it is.
    left: usize,
}

/// A file with more than one link.
struct LinkedFile {
    /// Where one of them is.
    place: DataPath,
    /// How many there are, here and elsewhere.
    all: u64,
    /// How many were found.
    found: u64,
}

/// A path below an opened folder: paths have a longest length, trees of folders have no greatest depth.
#[derive(Clone)]
struct DataPath {
    base: Rc<OwnedFd>,
    path: PathBuf,
}

/// `mark` is the folder's group while this is under way; its owner is the caller then.
fn change_hands(
    top: OwnedFd,
    dir: &Path,
    (from, to): (CallerIdentity, CallerIdentity),
    caller: CallerIdentity,
    mark: CallerIdentity,
) -> Result<()> {
    let mut change = OwnerChange { dir, caller, from, to, links: HashMap::new(), left: 0 };
    let refused = |err: io::Error| match err.raw_os_error() {
        Some(nix::libc::EPERM) => anyhow::Error::new(foreign(dir)),
        _ => anyhow::Error::new(err).context(format!("cannot change the owner of {}", quoted(dir))),
    };
    change.give(&top, CallerIdentity { uid: caller.uid, gid: mark.gid }).map_err(refused)?;
    let top = Rc::new(top);
    let mut folders = vec![DataPath { base: Rc::clone(&top), path: ".".into() }];
    while let Some(folder) = folders.pop() {
        change.folder(&folder, &mut folders)?;
    }
    for linked in std::mem::take(&mut change.links).into_values() {
        change.linked(&linked)?;
    }
    change.give(&*top, to).map_err(refused)?;
    if change.left > 0 {
        let left = change.left;
        tell(&format!(
            "piku-chroot: --data: {left} in {} keep their owners: they are of other users, or have hard links outside of it",
            quoted(dir)
        ));
    }
    Ok(())
}

impl OwnerChange<'_> {
    /// All that is in a folder; folders in it are put on the list.
    fn folder(&mut self, place: &DataPath, folders: &mut Vec<DataPath>) -> Result<()> {
        let Some(folder) = self.open(place, OFlags::RDONLY | OFlags::DIRECTORY)? else { return Ok(()) };
        let folder = Rc::new(folder);
        // Opened for reading, it can be what longer paths begin at.
        let (base, path) = if place.path.as_os_str().len() > LONG {
            (Rc::clone(&folder), PathBuf::from("."))
        } else {
            (Rc::clone(&place.base), place.path.clone())
        };
        for entry in
            Dir::read_from(&*folder).map_err(io::Error::from).with_context(|| self.describe(place))?
        {
            let entry = entry.map_err(io::Error::from).with_context(|| self.describe(place))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let name = Path::new(OsStr::from_bytes(name));
            let here = DataPath { base: Rc::clone(&folder), path: name.to_owned() };
            let Some(fd) = self.open(&here, OFlags::PATH)? else { continue };
            let stat = fstat(&fd).map_err(io::Error::from).with_context(|| self.describe(&here))?;
            let there = DataPath { base: Rc::clone(&base), path: path.join(name) };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                self.change(&fd, &stat)?;
                folders.push(there);
            } else if stat.st_nlink > 1 {
                self.remember(&stat, there);
            } else {
                self.change(&fd, &stat)?;
            }
        }
        Ok(())
    }

    /// Counts a link of a file that has several.
    fn remember(&mut self, stat: &Stat, place: DataPath) {
        if stat.st_uid == self.from.uid.as_raw() {
            let linked = LinkedFile { place, all: links(stat), found: 0 };
            self.links.entry((stat.st_dev, stat.st_ino)).or_insert(linked).found += 1;
        }
    }

    /// Changes a file all links of which were found.
    fn linked(&mut self, linked: &LinkedFile) -> Result<()> {
        if linked.found != linked.all {
            self.left += 1;
            return Ok(());
        }
        let Some(fd) = self.open(&linked.place, OFlags::PATH)? else { return Ok(()) };
        let stat = fstat(&fd).map_err(io::Error::from).with_context(|| self.describe(&linked.place))?;
        if links(&stat) > linked.all {
            self.left += 1;
            return Ok(());
        }
        self.change(&fd, &stat)
    }

    /// Gives one thing to its new owner, when it is the old one's.
    fn change(&mut self, fd: &OwnedFd, stat: &Stat) -> Result<()> {
        if stat.st_uid == self.to.uid.as_raw() {
            return Ok(());
        }
        if stat.st_uid != self.from.uid.as_raw() {
            self.left += 1;
            return Ok(());
        }
        match self.give(fd, self.to) {
            // A file of nobody whom the jail knows, that only looks like the caller's; or one that nobody may change.
            Err(err) if err.raw_os_error() == Some(nix::libc::EPERM) => self.left += 1,
            result => result.with_context(|| format!("cannot change owners in {}", quoted(self.dir)))?,
        }
        Ok(())
    }

    /// The kernel lets us as far as both the owner and the group are known here. A group that is not, the owner may leave
    /// first.
    fn give(&self, fd: impl AsFd, to: CallerIdentity) -> io::Result<()> {
        let chown = |uid: Option<Uid>, gid: Gid| chownat(&fd, c"", uid, Some(gid), AtFlags::EMPTY_PATH);
        let (uid, gid) = (Uid::from_raw(to.uid.as_raw()), Gid::from_raw(to.gid.as_raw()));
        match chown(Some(uid), gid) {
            Err(Errno::PERM) => {
                chown(None, Gid::from_raw(self.caller.gid.as_raw()))?;
                Ok(chown(Some(uid), gid)?)
            }
            result => Ok(result?),
        }
    }

    /// Opens what is there; `None` when it has gone, is a mount of its own, or is not for us.
    fn open(&mut self, place: &DataPath, flags: OFlags) -> Result<Option<OwnedFd>> {
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat2(&*place.base, &place.path, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(Errno::XDEV | Errno::ACCESS) => {
                self.left += 1;
                Ok(None)
            }
            Err(err) => Err(io::Error::from(err)).with_context(|| self.describe(place)),
        }
    }

    fn describe(&self, place: &DataPath) -> String {
        format!("cannot look at {} in {}", quoted(&place.path), quoted(self.dir))
    }
}

#[allow(clippy::useless_conversion, reason = "it is u32 on other machines")]
fn links(stat: &Stat) -> u64 {
    stat.st_nlink.into()
}

fn open(dir: &Path) -> Result<OwnedFd> {
    let fd = tree::open(dir)?;
    ensure!(tree::is_folder(&fd)?, "{} is not a folder", quoted(dir));
    Ok(fd)
}

fn look(top: &OwnedFd, dir: &Path) -> Result<Stat> {
    fstat(top).map_err(io::Error::from).with_context(|| format!("cannot look at {}", quoted(dir)))
}

fn foreign(dir: &Path) -> UserError {
    UserError::new(format!("{} belongs neither to the caller nor to the user of --uid-range", quoted(dir)))
        .hint("--bind shows a folder as it is")
        .code(SETUP_FAILED)
}
