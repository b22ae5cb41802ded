//! Changes the owner of the directory of `--data` and of everything in it from one user to another, with the
//! rights that the maker of the jail has over these two users alone.
//!
//! The tree may be hostile, and other processes may change it at the same time. Symlinks are not followed and
//! other mounts not entered, so everything that is reached is in the directory. A file with a hard link
//! outside of the directory keeps its owner: it may be a file of the caller that an app without a jail has
//! linked there.
//!
//! If the process is killed, the next start does everything again, since the directory itself comes last.
//! Until then its group marks the change as unfinished, which the opposite change has to know.

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

/// Length in bytes from which a path counts as long: the kernel takes 4095, and a name has at most 255.
const LONG: usize = 3500;

/// Makes `own` the owner if the caller is the owner.
pub(crate) fn give_to_own_user(dir: &Path, caller: CallerIdentity, own: CallerIdentity) -> Result<()> {
    let top = open_directory(dir)?;
    let stat = read_metadata(&top, dir)?;
    if stat.st_uid == own.uid.as_raw() {
        return Ok(());
    }
    // If the caller is "nobody", who stands for every unknown user here, the caller may still not be the
    // owner.
    ensure!(stat.st_uid == caller.uid.as_raw(), foreign_owner(dir));
    change_owner(top, dir, (caller, own), caller, own)
}

/// Makes the caller the owner if `own` is the owner, or was about to become the owner.
pub(crate) fn give_to_caller(dir: &Path, caller: CallerIdentity, own: CallerIdentity) -> Result<()> {
    let top = open_directory(dir)?;
    let stat = read_metadata(&top, dir)?;
    let under_way = stat.st_uid == caller.uid.as_raw() && stat.st_gid == own.gid.as_raw();
    if stat.st_uid != own.uid.as_raw() && !under_way {
        ensure!(stat.st_uid == caller.uid.as_raw(), foreign_owner(dir));
        return Ok(());
    }
    change_owner(top, dir, (own, caller), caller, own)
}

struct OwnerChange<'a> {
    dir: &'a Path,
    caller: CallerIdentity,
    from: CallerIdentity,
    to: CallerIdentity,
    /// Files with more than one hard link, by device and inode.
    links: HashMap<(u64, u64), LinkedFile>,
    /// Number of files that keep their owner.
    left: usize,
}

/// A file with more than one hard link.
struct LinkedFile {
    /// Path of one of its links.
    place: DataPath,
    /// Number of its links, here and elsewhere.
    all: u64,
    /// Number of links that were found.
    found: u64,
}

/// A path below an opened directory: paths have a maximum length, and directories are nested without a limit.
#[derive(Clone)]
struct DataPath {
    base: Rc<OwnedFd>,
    path: PathBuf,
}

/// Changes the owner from `from` to `to`. Until the end the directory belongs to the caller and to the group
/// of `mark`.
fn change_owner(
    top: OwnedFd,
    dir: &Path,
    (from, to): (CallerIdentity, CallerIdentity),
    caller: CallerIdentity,
    mark: CallerIdentity,
) -> Result<()> {
    let mut change = OwnerChange { dir, caller, from, to, links: HashMap::new(), left: 0 };
    let refused = |err: io::Error| match err.raw_os_error() {
        Some(nix::libc::EPERM) => anyhow::Error::new(foreign_owner(dir)),
        _ => anyhow::Error::new(err).context(format!("cannot change the owner of {}", quoted(dir))),
    };
    change.set_owner(&top, CallerIdentity { uid: caller.uid, gid: mark.gid }).map_err(refused)?;
    let top = Rc::new(top);
    let mut folders = vec![DataPath { base: Rc::clone(&top), path: ".".into() }];
    while let Some(folder) = folders.pop() {
        change.change_entries(&folder, &mut folders)?;
    }
    for linked in std::mem::take(&mut change.links).into_values() {
        change.change_linked(&linked)?;
    }
    change.set_owner(&*top, to).map_err(refused)?;
    if change.left > 0 {
        let left = change.left;
        tell(&format!(
            "piku-chroot: --data: {left} files in {} keep their owners: they belong to other users, or have hard links outside of it",
            quoted(dir)
        ));
    }
    Ok(())
}

impl OwnerChange<'_> {
    /// Changes the entries of a directory, and puts directories in it on the list.
    fn change_entries(&mut self, place: &DataPath, folders: &mut Vec<DataPath>) -> Result<()> {
        let Some(folder) = self.open(place, OFlags::RDONLY | OFlags::DIRECTORY)? else { return Ok(()) };
        let folder = Rc::new(folder);
        // Opened for reading, it can be the start of longer paths.
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
                self.change_file(&fd, &stat)?;
                folders.push(there);
            } else if stat.st_nlink > 1 {
                self.count_link(&stat, there);
            } else {
                self.change_file(&fd, &stat)?;
            }
        }
        Ok(())
    }

    /// Counts a link of a file with several links.
    fn count_link(&mut self, stat: &Stat, place: DataPath) {
        if stat.st_uid == self.from.uid.as_raw() {
            let linked = LinkedFile { place, all: count_links(stat), found: 0 };
            self.links.entry((stat.st_dev, stat.st_ino)).or_insert(linked).found += 1;
        }
    }

    /// Changes a file with several links if all of them were found.
    fn change_linked(&mut self, linked: &LinkedFile) -> Result<()> {
        if linked.found != linked.all {
            self.left += 1;
            return Ok(());
        }
        let Some(fd) = self.open(&linked.place, OFlags::PATH)? else { return Ok(()) };
        let stat = fstat(&fd).map_err(io::Error::from).with_context(|| self.describe(&linked.place))?;
        if count_links(&stat) > linked.all {
            self.left += 1;
            return Ok(());
        }
        self.change_file(&fd, &stat)
    }

    /// Changes one file if it belongs to the old owner.
    fn change_file(&mut self, fd: &OwnedFd, stat: &Stat) -> Result<()> {
        if stat.st_uid == self.to.uid.as_raw() {
            return Ok(());
        }
        if stat.st_uid != self.from.uid.as_raw() {
            self.left += 1;
            return Ok(());
        }
        match self.set_owner(fd, self.to) {
            // A file of a user whom the jail does not know, which only looks like the caller's, or an
            // immutable file.
            Err(err) if err.raw_os_error() == Some(nix::libc::EPERM) => self.left += 1,
            result => result.with_context(|| format!("cannot change owners in {}", quoted(self.dir)))?,
        }
        Ok(())
    }

    /// Sets the owner. The kernel allows it if both the owner and the group are known here; the owner may
    /// leave an unknown group first.
    fn set_owner(&self, fd: impl AsFd, to: CallerIdentity) -> io::Result<()> {
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

    /// Opens an entry; `None` if it has gone, is a mount, or may not be opened.
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
        format!("cannot read {} in {}", quoted(&place.path), quoted(self.dir))
    }
}

#[allow(clippy::useless_conversion, reason = "it is u32 on other machines")]
fn count_links(stat: &Stat) -> u64 {
    stat.st_nlink.into()
}

fn open_directory(dir: &Path) -> Result<OwnedFd> {
    let fd = tree::open_source(dir)?;
    ensure!(tree::is_folder(&fd)?, "{} is not a directory", quoted(dir));
    Ok(fd)
}

fn read_metadata(top: &OwnedFd, dir: &Path) -> Result<Stat> {
    fstat(top).map_err(io::Error::from).with_context(|| format!("cannot read {}", quoted(dir)))
}

fn foreign_owner(dir: &Path) -> UserError {
    UserError::new(format!("{} belongs neither to the caller nor to the user of --uid-range", quoted(dir)))
        .hint("--bind mounts a directory without changing owners")
        .code(SETUP_FAILED)
}
