//! Copies of files and trees.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::tree::directory::{self, FolderEntries};
use crate::tree::error::TreeError;
use crate::tree::file_stat::{FileKind, FileStat};
use crate::tree::handle::{TreeHandle, is_top};
use crate::tree::walk::{DEEPEST, TreeEntry, too_deep};

/// The most that a copy may take: what its caller has measured and found room for. A tree that grows meanwhile is an error and
/// not a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyLimit {
    /// Bytes of files; holes count.
    pub bytes: u64,
    /// Entries of any type.
    pub entries: u64,
}

impl CopyLimit {
    /// No limit, for what piku itself has written and nobody can write to any more.
    pub const NONE: Self = Self { bytes: u64::MAX, entries: u64::MAX };

    fn take(&mut self, bytes: u64) -> io::Result<()> {
        let rest = self.bytes.checked_sub(bytes).zip(self.entries.checked_sub(1));
        let (bytes, entries) = rest.ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, "the copy grows beyond what there was to copy")
        })?;
        *self = Self { bytes, entries };
        Ok(())
    }
}

/// A copy that is under way.
struct TreeCopier<'a, E> {
    from: &'a TreeHandle,
    limit: CopyLimit,
    takes: &'a mut dyn FnMut(&TreeEntry<'_>) -> Result<bool, E>,
    /// The entries that are no file, folder or link, and are left out.
    odd: Vec<PathBuf>,
}

impl TreeHandle {
    /// Copies the regular file `from` itself into the place of `new` in `to`, at most `limit` bytes, by reflink where the file
    /// system can. The copy has its mode, without set-uid and set-gid, and the time of now.
    ///
    /// # Errors
    /// When it is no regular file (a link is none), one of the ways leads out, or it is larger than `limit`.
    pub fn copy_file(
        &self,
        from: impl AsRef<Path>,
        to: &Self,
        new: impl AsRef<Path>,
        limit: u64,
    ) -> Result<(), TreeError> {
        let (from, new) = (from.as_ref(), new.as_ref());
        let source = self.open_file_nofollow(from)?;
        let fill = |file: &File| copy_content(&source.file, source.stat.len, file);
        CopyLimit { bytes: limit, entries: 1 }
            .take(source.stat.len)
            .and_then(|()| to.replace(new, source.stat.mode, fill))
            .map_err(|err| self.error("copy", from, err))
    }

    /// Copies what is in this tree into the folder `new` of `to`, which must not be there unless it is the tree `to` itself.
    /// `takes` is asked for each entry, and what it says no to is left out with all below it. Returns what else was left out since
    /// it is no file, folder or link.
    ///
    /// Files keep their content, their mode (without set-uid, set-gid and sticky, and readable to their owner) and their time;
    /// links their target. Nothing is shared with the original but blocks, where the file system can.
    ///
    /// # Errors
    /// Those of `takes`; and when the tree is larger than `limit`, changes its shape meanwhile, or cannot be read or written.
    pub fn copy_tree<E: From<TreeError>>(
        &self,
        to: &Self,
        new: impl AsRef<Path>,
        limit: CopyLimit,
        mut takes: impl FnMut(&TreeEntry<'_>) -> Result<bool, E>,
    ) -> Result<Vec<PathBuf>, E> {
        let new = new.as_ref();
        let open = || {
            let stat = FileStat::of(self.dir())?;
            let source = self.read_folder(Path::new(""))?;
            if is_top(new) {
                return Ok((stat, source, to.read_folder(new)?));
            }
            to.at(new, |parent, name| {
                directory::make(parent, name, 0o700)?;
                Ok((stat, source, directory::open_folder(parent, name)?))
            })
        };
        let (stat, source, target) = open().map_err(|err: io::Error| to.error("copy to", new, err))?;
        let mut copier = TreeCopier { from: self, limit, takes: &mut takes, odd: Vec::new() };
        copier.folder(source, target.as_fd(), &mut PathBuf::new(), 0)?;
        // The mode last: a folder without the right to write is filled first.
        directory::set_mode_of(target.as_fd(), stat.mode & 0o777 | 0o700)
            .map_err(|err| to.error("set the mode of", new, err))?;
        Ok(copier.odd)
    }
}

impl<E: From<TreeError>> TreeCopier<'_, E> {
    fn folder(
        &mut self,
        from: OwnedFd,
        to: BorrowedFd<'_>,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), E> {
        let tree = self.from;
        let cannot = |path: &Path, err: io::Error| tree.error("copy", path, err);
        let mut entries = FolderEntries::new(from).map_err(|err| cannot(path, err))?;
        while let Some((name, _)) = entries.next().map_err(|err| cannot(path, err))? {
            let here = entries.fd().map_err(|err| cannot(path, err))?;
            path.push(&name);
            let stat = directory::stat(here, &name).map_err(|err| cannot(path, err))?;
            if !(self.takes)(&TreeEntry::new(tree, here, path, &name, stat))? {
                path.pop();
                continue;
            }
            match stat.kind {
                FileKind::Folder => {
                    let below = self
                        .limit
                        .take(0)
                        .and_then(|()| if depth < DEEPEST { Ok(()) } else { Err(too_deep()) })
                        .and_then(|()| directory::open_folder(here, &name))
                        .and_then(|source| {
                            directory::make(to, &name, 0o700)?;
                            Ok((source, directory::open_folder(to, &name)?))
                        });
                    let (source, target) = below.map_err(|err| cannot(path, err))?;
                    self.folder(source, target.as_fd(), path, depth + 1)?;
                    directory::set_mode_of(target.as_fd(), stat.mode & 0o777 | 0o700)
                        .map_err(|err| cannot(path, err))?;
                }
                FileKind::Link => {
                    self.limit
                        .take(0)
                        .and_then(|()| directory::read_link(here, &name))
                        .and_then(|target| directory::symlink(&target, to, &name))
                        .map_err(|err| cannot(path, err))?;
                }
                FileKind::Regular => {
                    let copied = directory::open_file(here, &name).and_then(|(source, stat)| {
                        self.limit.take(stat.len)?;
                        let target = directory::create(to, &name, 0o600)?;
                        copy_content(&source, stat.len, &target)?;
                        directory::set_mode_of(target.as_fd(), stat.mode & 0o777 | 0o400)?;
                        target.set_modified(stat.modified)
                    });
                    copied.map_err(|err| cannot(path, err))?;
                }
                FileKind::Pipe | FileKind::Socket | FileKind::Device => self.odd.push(path.clone()),
            }
            path.pop();
        }
        Ok(())
    }
}

/// Copies what a file held when it was looked at, in the kernel where that can.
fn copy_content(from: &File, len: u64, mut to: &File) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    io::copy(&mut from.take(len), &mut to).map(drop)
}
