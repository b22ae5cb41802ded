//! Operations on single names in an open directory. The kernel gets a name relative to the descriptor and
//! never follows it, so that nothing is resolved and there is no race.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::tree::error::escape_error;
use crate::tree::file_stat::{FileKind, FileStat};

/// Flags of every open: the descriptor is not inherited, does not become the controlling terminal, and
/// opening a pipe does not block.
const SAFE_FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

/// Fails if `name` is not a single name.
pub(crate) fn check_name(name: &OsStr) -> io::Result<()> {
    match name.as_bytes() {
        b"" | b"." | b".." => Err(escape_error()),
        bytes if bytes.contains(&b'/') => Err(escape_error()),
        _ => Ok(()),
    }
}

/// Returns the metadata of `name` without following it.
pub(crate) fn stat(folder: impl AsFd, name: &OsStr) -> io::Result<FileStat> {
    Ok(fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?.into())
}

/// Opens the directory `name`. A symlink is an error.
pub(crate) fn open_folder(folder: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(fs::openat(
        folder,
        name,
        SAFE_FLAGS | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    )?)
}

/// Opens the regular file `name` for reading. A symlink is an error.
pub(crate) fn open_file(folder: impl AsFd, name: &OsStr) -> io::Result<(File, FileStat)> {
    let opened = fs::openat(folder, name, SAFE_FLAGS | OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
    require_regular(File::from(opened.map_err(|errno| match errno {
        Errno::LOOP => not_regular(FileKind::Link),
        // The kernel's error for a socket.
        Errno::NXIO => not_regular(FileKind::Socket),
        errno => errno.into(),
    })?))
}

/// Fails if an open file is not regular.
pub(crate) fn require_regular(file: File) -> io::Result<(File, FileStat)> {
    let stat = FileStat::read(&file)?;
    if stat.is_file() { Ok((file, stat)) } else { Err(not_regular(stat.kind)) }
}

fn not_regular(kind: FileKind) -> io::Error {
    let kind_of_error =
        if kind == FileKind::Folder { io::ErrorKind::IsADirectory } else { io::ErrorKind::InvalidInput };
    io::Error::new(kind_of_error, format!("it is {}, not a regular file", kind.name()))
}

/// Creates the file `name`. Fails if it exists.
pub(crate) fn create_file(folder: impl AsFd, name: &OsStr, mode: u32) -> io::Result<File> {
    let flags = OFlags::CLOEXEC | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    Ok(File::from(fs::openat(folder, name, flags, Mode::from_raw_mode(mode))?))
}

/// Creates the directory `name`. Fails if it exists.
pub(crate) fn create_directory(folder: impl AsFd, name: &OsStr, mode: u32) -> io::Result<()> {
    Ok(fs::mkdirat(folder, name, Mode::from_raw_mode(mode))?)
}

pub(crate) fn symlink(target: &OsStr, folder: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(fs::symlinkat(target, folder, name)?)
}

pub(crate) fn read_link(folder: impl AsFd, name: &OsStr) -> io::Result<std::ffi::OsString> {
    use std::os::unix::ffi::OsStringExt;
    let target = fs::readlinkat(folder, name, Vec::new())?;
    Ok(std::ffi::OsString::from_vec(target.into_bytes()))
}

/// Creates a hard link to an open file. The kernel links the file of the descriptor, never an entry that
/// has replaced its old name.
pub(crate) fn link_file(file: BorrowedFd<'_>, folder: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(fs::linkat(CWD, proc_fd_path(file), folder, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Creates a hard link to the entry `name` of another directory. A symlink is itself linked.
pub(crate) fn link_entry(from: impl AsFd, old: &OsStr, to: impl AsFd, new: &OsStr) -> io::Result<()> {
    Ok(fs::linkat(from, old, to, new, AtFlags::empty())?)
}

pub(crate) fn rename(from: impl AsFd, old: &OsStr, to: impl AsFd, new: &OsStr) -> io::Result<()> {
    Ok(fs::renameat(from, old, to, new)?)
}

pub(crate) fn unlink(folder: impl AsFd, name: &OsStr) -> rustix::io::Result<()> {
    fs::unlinkat(folder, name, AtFlags::empty())
}

pub(crate) fn remove_directory(folder: impl AsFd, name: &OsStr) -> rustix::io::Result<()> {
    fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

/// Sets the mode of `name`, which need not be readable. A symlink is an error.
pub(crate) fn set_mode(folder: impl AsFd, name: &OsStr, mode: u32) -> io::Result<()> {
    let flags = OFlags::CLOEXEC | OFlags::PATH | OFlags::NOFOLLOW;
    let fd = fs::openat(folder, name, flags, Mode::empty())?;
    if FileStat::read(&fd)?.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a symlink has no mode"));
    }
    set_mode_of(fd.as_fd(), mode)
}

/// Sets the mode of an open file or directory, even of an `O_PATH` descriptor.
pub(crate) fn set_mode_of(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    match fs::fchmod(fd, mode) {
        Err(Errno::BADF) => Ok(fs::chmod(proc_fd_path(fd), mode)?),
        done => Ok(done?),
    }
}

/// Sets the modification time of `name` without following it.
pub(crate) fn set_modified(folder: impl AsFd, name: &OsStr, time: SystemTime) -> io::Result<()> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: since.subsec_nanos().into(),
        },
    };
    Ok(fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Returns a random name for a temporary entry.
pub(crate) fn temporary_name() -> std::ffi::OsString {
    use std::hash::{BuildHasher, RandomState};
    let chance = RandomState::new().hash_one(std::process::id());
    format!(".piku-new-{chance:016x}").into()
}

/// Returns the path of an open descriptor.
fn proc_fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Iterates over the entries of an open directory.
pub(crate) struct FolderEntries(fs::Dir);

impl FolderEntries {
    pub(crate) fn new(folder: OwnedFd) -> io::Result<Self> {
        Ok(Self(fs::Dir::new(folder)?))
    }

    /// Returns the descriptor of the directory.
    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.0.fd()?)
    }

    /// Returns the next name, and its type if the file system stores it.
    pub(crate) fn next(&mut self) -> io::Result<Option<(std::ffi::OsString, Option<FileKind>)>> {
        let Some(entry) = self.next_entry()? else { return Ok(None) };
        let kind = entry.file_type();
        let kind = (kind != FileType::Unknown).then(|| kind.into());
        Ok(Some((OsStr::from_bytes(entry.file_name().to_bytes()).to_owned(), kind)))
    }

    /// Returns the number of entries that are left.
    pub(crate) fn count(mut self) -> io::Result<usize> {
        let mut count = 0;
        while self.next_entry()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    fn next_entry(&mut self) -> io::Result<Option<fs::DirEntry>> {
        while let Some(entry) = self.0.read().transpose()? {
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    pub(crate) fn rewind(&mut self) {
        self.0.rewind();
    }
}
