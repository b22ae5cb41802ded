//! The kind and the metadata of an entry of a tree.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev, statx};

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A device.
    Device,
}

impl FileKind {
    /// Returns its name with an article, for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Regular => "a regular file",
            Self::Folder => "a folder",
            Self::Link => "a link",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        }
    }
}

impl From<FileType> for FileKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::Regular,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Pipe,
            FileType::Socket => Self::Socket,
            _ => Self::Device,
        }
    }
}

/// The facts about an entry, as its folder or its descriptor gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Its type.
    pub kind: FileKind,
    /// Its length in bytes; holes count.
    pub len: u64,
    /// The space that it takes on the disk, in bytes; holes take none.
    pub disk: u64,
    /// Its permission bits with set-uid, set-gid and sticky: at most `0o7777`.
    pub mode: u32,
    /// The user it belongs to.
    pub uid: u32,
    /// The group it belongs to.
    pub gid: u32,
    /// The number of its file system.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// The number of its hard links.
    pub links: u32,
    /// When its content was changed.
    pub modified: SystemTime,
}

impl FileStat {
    /// Returns whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::Regular
    }

    /// Returns whether it is a folder.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Folder
    }

    /// Returns whether it is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.kind == FileKind::Link
    }

    /// Returns whether both are one inode.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// Reads the facts about the open descriptor `fd`.
    pub(crate) fn of(fd: impl AsFd) -> rustix::io::Result<Self> {
        Ok(statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?.into())
    }
}

impl From<Statx> for FileStat {
    fn from(stat: Statx) -> Self {
        let mode = u32::from(stat.stx_mode);
        let modified = u64::try_from(stat.stx_mtime.tv_sec).map_or(SystemTime::UNIX_EPOCH, |seconds| {
            let since = Duration::new(seconds, stat.stx_mtime.tv_nsec.min(999_999_999));
            // A time that no clock has is set by whoever can call utimensat.
            SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
        });
        Self {
            kind: FileType::from_raw_mode(mode).into(),
            len: stat.stx_size,
            disk: stat.stx_blocks.saturating_mul(512),
            mode: mode & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            dev: makedev(stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            links: stat.stx_nlink,
            modified,
        }
    }
}
