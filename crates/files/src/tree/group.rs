//! Gives a group the owner's rights.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, chownat, openat};
use rustix::io::Errno;
use rustix::process::getegid;

use crate::tree::directory;
use crate::tree::error::TreeError;
use crate::tree::file_stat::FileStat;
use crate::tree::handle::TreeHandle;
use crate::tree::walk::TreeEntry;

impl TreeHandle {
    /// Makes `gid` the group of the top directory and gives the group the rights of the owner.
    ///
    /// # Errors
    /// Fails if this process may not change the directory.
    pub fn share_with_group(&self, gid: u32) -> Result<(), TreeError> {
        share(self.as_fd(), gid).map_err(|err| self.error("share", "".as_ref(), err))
    }

    /// Gives the top directory to this process's group again, so that the next call of [`Self::share_with_group`] is the
    /// first for the tree.
    ///
    /// # Errors
    /// Fails if this process may not change the directory.
    pub fn take_from_group(&self) -> Result<(), TreeError> {
        let take = || {
            let (stat, own) = (FileStat::read(self)?, getegid());
            if stat.gid == own.as_raw() {
                return Ok(());
            }
            chownat(self, c"", None, Some(own), AtFlags::EMPTY_PATH)?;
            directory::set_mode_of(self.as_fd(), stat.mode & !0o070 | 0o050)
        };
        take().map_err(|err| self.error("take", "".as_ref(), err))
    }
}

impl TreeEntry<'_> {
    /// Makes `gid` the group of the entry and gives the group the rights of the owner. Leaves symlinks, and
    /// entries of other users, as they are.
    ///
    /// # Errors
    /// Fails if the entry cannot be changed for another reason.
    pub fn share_with_group(&self, gid: u32) -> Result<(), TreeError> {
        // Most files of a release are links to those of older ones, which have it.
        if self.stat().is_symlink() || self.stat().is_shared_with(gid) {
            return Ok(());
        }
        let share = || match open_entry(self.folder(), self.name()) {
            Ok(fd) => share(fd.as_fd(), gid),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        };
        match share() {
            Err(err) if err.raw_os_error() == Some(Errno::PERM.raw_os_error()) => Ok(()),
            done => done.map_err(|err| self.error("share", err)),
        }
    }
}

fn open_entry(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(folder, name, OFlags::CLOEXEC | OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
}

fn share(fd: BorrowedFd<'_>, gid: u32) -> io::Result<()> {
    let stat = FileStat::read(fd)?;
    if stat.is_symlink() || stat.is_shared_with(gid) {
        return Ok(());
    }
    chownat(fd, c"", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    directory::set_mode_of(fd, stat.shared_mode())
}

impl FileStat {
    /// Returns true if the group has the rights of the owner.
    fn is_shared_with(&self, gid: u32) -> bool {
        self.gid == gid && self.mode == self.shared_mode()
    }

    /// Returns the mode that gives the group the rights of the owner.
    fn shared_mode(&self) -> u32 {
        self.mode & 0o707 | (self.mode & 0o700) >> 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::walk::WalkStep;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_group_gets_the_rights_of_the_owner_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        fs::create_dir_all(at("tree/below")).unwrap();
        for (name, bits) in [("outside", 0o600), ("tree/below/file", 0o644), ("tree/run", 0o4755)] {
            fs::write(at(name), "x").unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(bits)).unwrap();
        }
        std::os::unix::fs::symlink("../outside", at("tree/link")).unwrap();
        let tree = TreeHandle::open(&at("tree")).unwrap();
        let gid = tree.metadata("").unwrap().gid;
        tree.walk::<TreeError>(|entry| entry.share_with_group(gid).map(|()| WalkStep::Into)).unwrap();
        tree.share_with_group(gid).unwrap();
        assert_eq!([mode("tree/below/file"), mode("tree/run"), mode("outside")], [0o664, 0o775, 0o600]);
        assert_eq!([mode("tree/below"), mode("tree")], [0o775, 0o775]);
    }
}
