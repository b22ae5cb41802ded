//! Looking at a tree and reading from it.

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

/// The most entries that one folder is listed with; a walk has no such bound.
const MOST: usize = 1 << 20;

/// A regular file of a tree, open for reading.
#[derive(Debug)]
pub struct TreeFile {
    /// The descriptor.
    pub file: File,
    /// The metadata at the time of opening. Whoever can write to the file can make it longer.
    pub stat: FileStat,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderEntry {
    /// The name.
    pub name: OsString,
    /// Its type when the folder was read.
    pub kind: FileKind,
}

impl TreeFile {
    /// Reads it to its end.
    ///
    /// # Errors
    /// When it holds more than `limit` bytes.
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
    /// Looks at what `path` leads to; a link is followed as long as it stays in the tree.
    ///
    /// # Errors
    /// When nothing is there, or it leads out.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<FileStat, TreeError> {
        let path = path.as_ref();
        let stat = || {
            if is_top(path) {
                return Ok(FileStat::of(self.dir())?);
            }
            let place = i32::try_from(OFlags::PATH.bits()).unwrap_or(0);
            let opened = self.dir().open_with(path, OpenOptions::new().read(true).custom_flags(place))?;
            Ok(FileStat::of(&opened)?)
        };
        stat().map_err(|err| self.error("look at", path, err))
    }

    /// Looks at the entry `path` itself, a link where it is one.
    ///
    /// # Errors
    /// When nothing is there, or the way to it leads out.
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

    /// The same, `None` where nothing is.
    ///
    /// # Errors
    /// When the way to it leads out, or cannot be read.
    pub fn find(&self, path: impl AsRef<Path>) -> Result<Option<FileStat>, TreeError> {
        match self.symlink_metadata(path) {
            Err(err) if err.is_missing() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Returns whether `path` leads to a regular file that lies in the tree.
    #[must_use]
    pub fn is_file(&self, path: impl AsRef<Path>) -> bool {
        self.metadata(path).is_ok_and(|stat| stat.is_file())
    }

    /// Returns whether `path` leads to a folder that lies in the tree.
    #[must_use]
    pub fn is_dir(&self, path: impl AsRef<Path>) -> bool {
        self.metadata(path).is_ok_and(|stat| stat.is_dir())
    }

    /// Opens the regular file that `path` leads to; a link is followed as long as it stays in the tree.
    ///
    /// # Errors
    /// When nothing is there, it leads out, or it is no regular file.
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
            directory::regular(opened.into_std())
        };
        let (file, stat) = open().map_err(|err| self.error("read", path, err))?;
        Ok(TreeFile { file, stat })
    }

    /// Opens the regular file `path` itself: a link in its place is an error.
    ///
    /// # Errors
    /// When nothing is there, the way to it leads out, or it is no regular file.
    pub fn open_file_nofollow(&self, path: impl AsRef<Path>) -> Result<TreeFile, TreeError> {
        let path = path.as_ref();
        let open = || {
            let (parent, name) = self.parent(path)?;
            directory::open_file(&parent, name)
        };
        let (file, stat) = open().map_err(|err| self.error("read", path, err))?;
        Ok(TreeFile { file, stat })
    }

    /// Reads the regular file that `path` leads to, at most `limit` bytes of it.
    ///
    /// # Errors
    /// As [`TreeHandle::open_file`], and when it is larger.
    pub fn read_bounded(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, TreeError> {
        let path = path.as_ref();
        self.open_file(path)?.read_bounded(limit).map_err(|err| self.error("read", path, err))
    }

    /// The same of a text in UTF-8.
    ///
    /// # Errors
    /// As [`TreeHandle::read_bounded`], and when it is no UTF-8.
    pub fn read_text(&self, path: impl AsRef<Path>, limit: u64) -> Result<String, TreeError> {
        let path = path.as_ref();
        String::from_utf8(self.read_bounded(path, limit)?).map_err(|_| {
            self.error("read", path, io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
        })
    }

    /// Reads the target of the link `path`.
    ///
    /// # Errors
    /// When it is no link, or the way to it leads out.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, TreeError> {
        let path = path.as_ref();
        let read = || {
            let (parent, name) = self.parent(path)?;
            directory::read_link(&parent, name)
        };
        read().map(PathBuf::from).map_err(|err| self.error("read", path, err))
    }

    /// Lists the folder that `path` leads to, sorted by name; a link is followed as long as it stays in the tree.
    ///
    /// # Errors
    /// When it cannot be read, or holds more than a million entries.
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
                if found.len() >= MOST {
                    return Err(io::Error::other(format!("it holds more than {MOST} entries")));
                }
                found.push(FolderEntry { name, kind });
            }
            found.sort();
            Ok(found)
        };
        list().map_err(|err: io::Error| self.error("read", path, err))
    }

    /// Returns whether nothing is in the tree.
    ///
    /// # Errors
    /// When its top cannot be read.
    pub fn is_empty(&self) -> Result<bool, TreeError> {
        let first = || FolderEntries::new(self.read_folder(Path::new(""))?)?.next();
        first().map(|entry| entry.is_none()).map_err(|err| self.error("read", Path::new(""), err))
    }

    /// Puts the regular file or the folder `path` itself on the disk; of anything else there is nothing to put.
    ///
    /// # Errors
    /// When it cannot be opened or synced.
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

    /// Puts the whole file system that the tree lies on on the disk.
    ///
    /// # Errors
    /// When the kernel could not write all of it.
    pub fn sync_file_system(&self) -> Result<(), TreeError> {
        let flags = OFlags::CLOEXEC | OFlags::RDONLY | OFlags::DIRECTORY;
        openat(self.as_fd(), c".", flags, Mode::empty())
            .and_then(rustix::fs::syncfs)
            .map_err(|errno| self.error("sync", Path::new(""), errno.into()))
    }
}
