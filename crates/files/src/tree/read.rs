//! Operations that read a tree.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cap_std::fs::{OpenOptions, OpenOptionsExt};
use rustix::fs::{Mode, OFlags, openat};

use crate::tree::directory::{self, FolderEntries};
use crate::tree::error::TreeError;
use crate::tree::file_stat::{FileKind, FileStat};
use crate::tree::handle::{TreeHandle, is_top};

/// Maximum number of entries of a listing. A walk has no limit.
const MAX_ENTRIES: usize = 1 << 20;

/// A regular file of a tree, open for reading.
#[derive(Debug)]
pub struct TreeFile {
    /// Refers to this file even if its name now leads to another one.
    pub file: File,
    /// Metadata when the file was opened. A process that can write to the file may extend it.
    pub stat: FileStat,
}

/// An entry of a listed directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderEntry {
    /// Single name, without a path.
    pub name: OsString,
    /// File type when the directory was read.
    pub kind: FileKind,
}

impl TreeFile {
    /// Reads the whole file.
    ///
    /// # Errors
    /// Fails if it has more than `limit` bytes.
    pub fn read_bounded(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let too_large =
            || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes"));
        if self.stat.len > limit {
            return Err(too_large());
        }
        let mut content = Vec::with_capacity(usize::try_from(self.stat.len).unwrap_or(0));
        let read = (&self.file).take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if read as u64 > limit { Err(too_large()) } else { Ok(content) }
    }
}

impl TreeHandle {
    /// Returns the metadata of `path`. Symlinks are followed while they stay in the tree.
    ///
    /// # Errors
    /// Fails if it does not exist or leads out.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<FileStat, TreeError> {
        let path = path.as_ref();
        let stat = || {
            if is_top(path) {
                return Ok(FileStat::read(self.dir())?);
            }
            let place = i32::try_from(OFlags::PATH.bits()).unwrap_or(0);
            let opened = self.dir().open_with(path, OpenOptions::new().read(true).custom_flags(place))?;
            Ok(FileStat::read(&opened)?)
        };
        stat().map_err(|err| self.error("look at", path, err))
    }

    /// Returns the metadata of the entry `path` without following it.
    ///
    /// # Errors
    /// Fails if it does not exist or its parent leads out.
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<FileStat, TreeError> {
        let path = path.as_ref();
        if is_top(path) {
            return self.metadata(path);
        }
        let stat = || {
            let (parent, name) = self.parent(path)?;
            directory::stat(&parent, name)
        };
        stat().map_err(|err| self.error("look at", path, err))
    }

    /// Returns the metadata of the entry `path` without following it, or `None` if it does not exist.
    ///
    /// # Errors
    /// Fails if its parent leads out or cannot be read.
    pub fn find(&self, path: impl AsRef<Path>) -> Result<Option<FileStat>, TreeError> {
        match self.symlink_metadata(path) {
            Err(err) if err.is_missing() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Returns true if `path` leads to a regular file of the tree.
    #[must_use]
    pub fn is_file(&self, path: impl AsRef<Path>) -> bool {
        self.metadata(path).is_ok_and(|stat| stat.is_file())
    }

    /// Returns true if `path` leads to a directory of the tree.
    #[must_use]
    pub fn is_dir(&self, path: impl AsRef<Path>) -> bool {
        self.metadata(path).is_ok_and(|stat| stat.is_dir())
    }

    /// Opens the regular file `path` for reading. Symlinks are followed while they stay in the tree.
    ///
    /// # Errors
    /// Fails if it does not exist, leads out, or is not a regular file.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<TreeFile, TreeError> {
        let path = path.as_ref();
        let open = || {
            let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
            let flags = i32::try_from(flags.bits()).unwrap_or(0);
            let opened = self.dir().open_with(path, OpenOptions::new().read(true).custom_flags(flags));
            let opened = opened.map_err(|err| match err.raw_os_error() {
                Some(no) if no == rustix::io::Errno::NXIO.raw_os_error() => {
                    io::Error::new(io::ErrorKind::InvalidInput, "it is a socket, not a regular file")
                }
                _ => err,
            })?;
            directory::require_regular(opened.into_std())
        };
        let (file, stat) = open().map_err(|err| self.error("read", path, err))?;
        Ok(TreeFile { file, stat })
    }

    /// Opens the regular file `path` for reading. A symlink in its place is an error.
    ///
    /// # Errors
    /// Fails if it does not exist, its parent leads out, or it is not a regular file.
    pub fn open_file_nofollow(&self, path: impl AsRef<Path>) -> Result<TreeFile, TreeError> {
        let path = path.as_ref();
        let open = || {
            let (parent, name) = self.parent(path)?;
            directory::open_file(&parent, name)
        };
        let (file, stat) = open().map_err(|err| self.error("read", path, err))?;
        Ok(TreeFile { file, stat })
    }

    /// Reads the regular file `path`, following symlinks in the tree.
    ///
    /// # Errors
    /// As [`TreeHandle::open_file`]. Fails if the file has more than `limit` bytes.
    pub fn read_bounded(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, TreeError> {
        let path = path.as_ref();
        self.open_file(path)?.read_bounded(limit).map_err(|err| self.error("read", path, err))
    }

    /// Reads the regular file `path` as UTF-8, following symlinks in the tree.
    ///
    /// # Errors
    /// As [`TreeHandle::read_bounded`]. Fails if the text is not UTF-8.
    pub fn read_text(&self, path: impl AsRef<Path>, limit: u64) -> Result<String, TreeError> {
        let path = path.as_ref();
        String::from_utf8(self.read_bounded(path, limit)?).map_err(|_| {
            self.error("read", path, io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
        })
    }

    /// Reads the target of the symlink `path`.
    ///
    /// # Errors
    /// Fails if it is not a symlink or its parent leads out.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, TreeError> {
        let path = path.as_ref();
        let read = || {
            let (parent, name) = self.parent(path)?;
            directory::read_link(&parent, name)
        };
        read().map(PathBuf::from).map_err(|err| self.error("read", path, err))
    }

    /// Lists the directory `path`, sorted by name. Symlinks are followed while they stay in the tree.
    ///
    /// # Errors
    /// Fails if it cannot be read or has more than a million entries.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<FolderEntry>, TreeError> {
        let path = path.as_ref();
        let list = || {
            let mut entries = FolderEntries::new(self.read_folder(path)?)?;
            let mut found = Vec::new();
            while let Some((name, kind)) = entries.next()? {
                let kind = match kind {
                    Some(kind) => kind,
                    None => match directory::stat(entries.fd()?, &name) {
                        Ok(stat) => stat.kind,
                        Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                        Err(err) => return Err(err),
                    },
                };
                if found.len() >= MAX_ENTRIES {
                    return Err(io::Error::other(format!("it holds more than {MAX_ENTRIES} entries")));
                }
                found.push(FolderEntry { name, kind });
            }
            found.sort();
            Ok(found)
        };
        list().map_err(|err: io::Error| self.error("read", path, err))
    }

    /// Returns the number of entries of the top directory.
    pub(crate) fn count_entries(&self) -> Result<usize, TreeError> {
        let count = || FolderEntries::new(self.read_folder(Path::new(""))?)?.count();
        count().map_err(|err| self.error("read", Path::new(""), err))
    }

    /// Returns true if the tree has no entries.
    ///
    /// # Errors
    /// Fails if its top directory cannot be read.
    pub fn is_empty(&self) -> Result<bool, TreeError> {
        let first = || FolderEntries::new(self.read_folder(Path::new(""))?)?.next();
        first().map(|entry| entry.is_none()).map_err(|err| self.error("read", Path::new(""), err))
    }

    /// Syncs the regular file or directory `path`. Other entries need no sync.
    ///
    /// # Errors
    /// Fails if it cannot be opened or synced.
    pub fn sync(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        let sync = || {
            if is_top(path) {
                return File::from(self.read_folder(path)?).sync_all();
            }
            let (parent, name) = self.parent(path)?;
            match directory::stat(&parent, name)?.kind {
                FileKind::Regular => directory::open_file(&parent, name)?.0.sync_all(),
                FileKind::Folder => File::from(directory::open_folder(&parent, name)?).sync_all(),
                _ => Ok(()),
            }
        };
        sync().map_err(|err| self.error("sync", path, err))
    }

    /// Syncs the whole file system of the tree.
    ///
    /// # Errors
    /// Fails if the kernel cannot write all of it.
    pub fn sync_file_system(&self) -> Result<(), TreeError> {
        let flags = OFlags::CLOEXEC | OFlags::RDONLY | OFlags::DIRECTORY;
        openat(self.as_fd(), c".", flags, Mode::empty())
            .and_then(rustix::fs::syncfs)
            .map_err(|errno| self.error("sync", Path::new(""), errno.into()))
    }
}
