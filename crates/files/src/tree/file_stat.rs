//! Type and metadata of an entry.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev, statx};

/// File type, as in `st_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// `S_IFREG`
    Regular,
    /// `S_IFDIR`
    Folder,
    /// `S_IFLNK`
    Link,
    /// `S_IFIFO`
    Pipe,
    /// `S_IFSOCK`
    Socket,
    /// `S_IFCHR` or `S_IFBLK`
    Device,
}

impl FileKind {
    /// Returns the name with an article, for messages.
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

/// Metadata of an entry, as from `statx(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// File type when the metadata was read.
    pub kind: FileKind,
    /// Length in bytes, including holes.
    pub len: u64,
    /// Disk usage in bytes, without holes.
    pub disk: u64,
    /// Permission bits with set-uid, set-gid and sticky: at most `0o7777`.
    pub mode: u32,
    /// Owner's user ID on the host.
    pub uid: u32,
    /// Owner's group ID on the host.
    pub gid: u32,
    /// Device number of its file system.
    pub dev: u64,
    /// Inode number, unique in the file system.
    pub ino: u64,
    /// Number of hard links.
    pub links: u32,
    /// Modification time of the content.
    pub modified: SystemTime,
}

impl FileStat {
    /// Returns true for a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::Regular
    }

    /// Returns true for a folder.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Folder
    }

    /// Returns true for a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.kind == FileKind::Link
    }

    /// Returns true if both are the same inode.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// Returns the mode without the rights of the group, which the first start of a release gives to the app's own
    /// group.
    #[must_use]
    pub fn mode_without_group(&self) -> u32 {
        self.mode & !0o070
    }

    /// Reads the metadata of an open descriptor.
    pub(crate) fn read(fd: impl AsFd) -> rustix::io::Result<Self> {
        Ok(statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?.into())
    }
}

impl From<Statx> for FileStat {
    fn from(stat: Statx) -> Self {
        let mode = u32::from(stat.stx_mode);
        let modified = u64::try_from(stat.stx_mtime.tv_sec).map_or(SystemTime::UNIX_EPOCH, |seconds| {
            let since = Duration::new(seconds, stat.stx_mtime.tv_nsec.min(999_999_999));
            // utimensat accepts times that no clock has.
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
