//! Copies files and trees with a limit.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::tree::directory::{self, FolderEntries};
use crate::tree::error::TreeError;
use crate::tree::file_stat::{FileKind, FileStat};
use crate::tree::handle::{TreeHandle, is_top};
use crate::tree::walk::{MAX_DEPTH, TreeEntry, too_deep};

/// Limit of a copy: the size that its caller has measured. A tree that grows in the meantime is an error
/// and does not fill the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyLimit {
    /// Total length of all files in bytes, including holes.
    pub bytes: u64,
    /// Number of entries of any type.
    pub entries: u64,
}

impl CopyLimit {
    /// No limit, for a tree that piku has written and no app can change.
    pub const NONE: Self = Self { bytes: u64::MAX, entries: u64::MAX };

    fn consume(&mut self, bytes: u64) -> io::Result<()> {
        let rest = self.bytes.checked_sub(bytes).zip(self.entries.checked_sub(1));
        let (bytes, entries) = rest.ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, "the tree has grown since it was measured")
        })?;
        *self = Self { bytes, entries };
        Ok(())
    }
}

struct TreeCopier<'a, E> {
    from: &'a TreeHandle,
    limit: CopyLimit,
    takes: &'a mut dyn FnMut(&TreeEntry<'_>) -> Result<bool, E>,
    /// Skipped entries: neither files nor directories nor symlinks.
    odd: Vec<PathBuf>,
}

impl TreeHandle {
    /// Copies the regular file `from` to the entry `new` of the tree `to`, which is replaced, by reflink
    /// if the file system can. The copy has the same mode, without set-uid and set-gid, and the current
    /// time.
    ///
    /// # Errors
    /// Fails if `from` is not a regular file or is longer than `limit` bytes, or if a path leads out.
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
            .consume(source.stat.len)
            .and_then(|()| to.replace_file(new, source.stat.mode, fill))
            .map_err(|err| self.error("copy", from, err))
    }

    /// Copies the content of this tree to the directory `new` of the tree `to`, which must not exist
    /// unless it is `to` itself. Entries for which `takes` returns false are skipped, with everything
    /// below them. Returns the entries that were skipped because they are neither files nor directories
    /// nor symlinks.
    ///
    /// Files keep their content, mode (without set-uid, set-gid and sticky, and readable by their owner)
    /// and time; symlinks keep their target. The copy shares only blocks with the original, if the file
    /// system can.
    ///
    /// # Errors
    /// Returns the errors of `takes`. Fails if the tree exceeds `limit`, changes during the copy, or
    /// cannot be read or written.
    pub fn copy_tree<E: From<TreeError>>(
        &self,
        to: &Self,
        new: impl AsRef<Path>,
        limit: CopyLimit,
        mut takes: impl FnMut(&TreeEntry<'_>) -> Result<bool, E>,
    ) -> Result<Vec<PathBuf>, E> {
        let new = new.as_ref();
        let open = || {
            let stat = FileStat::read(self.dir())?;
            let source = self.read_folder(Path::new(""))?;
            if is_top(new) {
                return Ok((stat, source, to.read_folder(new)?));
            }
            to.with_parent(new, |parent, name| {
                directory::create_directory(parent, name, 0o700)?;
                Ok((stat, source, directory::open_folder(parent, name)?))
            })
        };
        let (stat, source, target) = open().map_err(|err: io::Error| to.error("copy to", new, err))?;
        let mut copier = TreeCopier { from: self, limit, takes: &mut takes, odd: Vec::new() };
        copier.copy_directory(source, target.as_fd(), &mut PathBuf::new(), 0)?;
        // The mode is set last: a read-only directory could not be filled.
        directory::set_mode_of(target.as_fd(), stat.mode & 0o777 | 0o700)
            .map_err(|err| to.error("set the mode of", new, err))?;
        Ok(copier.odd)
    }
}

impl<E: From<TreeError>> TreeCopier<'_, E> {
    fn copy_directory(
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
                        .consume(0)
                        .and_then(|()| if depth < MAX_DEPTH { Ok(()) } else { Err(too_deep()) })
                        .and_then(|()| directory::open_folder(here, &name))
                        .and_then(|source| {
                            directory::create_directory(to, &name, 0o700)?;
                            Ok((source, directory::open_folder(to, &name)?))
                        });
                    let (source, target) = below.map_err(|err| cannot(path, err))?;
                    self.copy_directory(source, target.as_fd(), path, depth + 1)?;
                    directory::set_mode_of(target.as_fd(), stat.mode & 0o777 | 0o700)
                        .map_err(|err| cannot(path, err))?;
                }
                FileKind::Link => {
                    self.limit
                        .consume(0)
                        .and_then(|()| directory::read_link(here, &name))
                        .and_then(|target| directory::symlink(&target, to, &name))
                        .map_err(|err| cannot(path, err))?;
                }
                FileKind::Regular => {
                    let copied = directory::open_file(here, &name).and_then(|(source, stat)| {
                        self.limit.consume(stat.len)?;
                        let target = directory::create_file(to, &name, 0o600)?;
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

/// Copies the first `len` bytes of a file, in the kernel if possible.
fn copy_content(from: &File, len: u64, mut to: &File) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    io::copy(&mut from.take(len), &mut to).map(drop)
}
