//! A folder held by its descriptor, and the operations on single names in it. A name is given to the kernel relative to the
//! descriptor and never followed, so that there is nothing to resolve and nothing to race with.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::tree::error::escape;
use crate::tree::file_stat::{FileKind, FileStat};

/// The flags that every descriptor is opened with: never inherited, never a terminal, and without waiting for a writer at the
/// other end of a pipe.
const PLAIN: OFlags = OFlags::CLOEXEC.union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

/// Refuses what is no single name.
pub(crate) fn check_name(name: &OsStr) -> io::Result<()> {
    match name.as_bytes() {
        b"" | b"." | b".." => Err(escape()),
        bytes if bytes.contains(&b'/') => Err(escape()),
        _ => Ok(()),
    }
}

/// Reads the facts about `name`, a link itself where it is one.
pub(crate) fn stat(folder: impl AsFd, name: &OsStr) -> io::Result<FileStat> {
    Ok(fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?.into())
}

/// Opens the folder `name`; a link is none.
pub(crate) fn open_folder(folder: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(fs::openat(
        folder,
        name,
        PLAIN | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    )?)
}

/// Opens the regular file `name` for reading; a link is none.
pub(crate) fn open_file(folder: impl AsFd, name: &OsStr) -> io::Result<(File, FileStat)> {
    let opened = fs::openat(folder, name, PLAIN | OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
    regular(File::from(opened.map_err(|errno| match errno {
        Errno::LOOP => not_regular(FileKind::Link),
        // So says the kernel of a socket.
        Errno::NXIO => not_regular(FileKind::Socket),
        errno => errno.into(),
    })?))
}

/// Refuses an open file that is not regular.
pub(crate) fn regular(file: File) -> io::Result<(File, FileStat)> {
    let stat = FileStat::of(&file)?;
    if stat.is_file() { Ok((file, stat)) } else { Err(not_regular(stat.kind)) }
}

fn not_regular(kind: FileKind) -> io::Error {
    let kind_of_error =
        if kind == FileKind::Folder { io::ErrorKind::IsADirectory } else { io::ErrorKind::InvalidInput };
    io::Error::new(kind_of_error, format!("it is {}, not a regular file", kind.name()))
}

/// Makes the file `name`, which must not be there.
pub(crate) fn create(folder: impl AsFd, name: &OsStr, mode: u32) -> io::Result<File> {
    let flags = OFlags::CLOEXEC | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    Ok(File::from(fs::openat(folder, name, flags, Mode::from_raw_mode(mode))?))
}

/// Makes the folder `name`, which must not be there.
pub(crate) fn make(folder: impl AsFd, name: &OsStr, mode: u32) -> io::Result<()> {
    Ok(fs::mkdirat(folder, name, Mode::from_raw_mode(mode))?)
}

/// Makes the link `name`.
pub(crate) fn symlink(target: &OsStr, folder: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(fs::symlinkat(target, folder, name)?)
}

/// Reads the link `name`.
pub(crate) fn read_link(folder: impl AsFd, name: &OsStr) -> io::Result<std::ffi::OsString> {
    use std::os::unix::ffi::OsStringExt;
    let target = fs::readlinkat(folder, name, Vec::new())?;
    Ok(std::ffi::OsString::from_vec(target.into_bytes()))
}

/// Gives the open file one more name. The kernel is asked for the file behind the descriptor, so that nothing that has taken its
/// old name's place meanwhile can be linked.
pub(crate) fn link(file: BorrowedFd<'_>, folder: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(fs::linkat(CWD, through_proc(file), folder, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Renames; what is at the new name is replaced.
pub(crate) fn rename(from: impl AsFd, old: &OsStr, to: impl AsFd, new: &OsStr) -> io::Result<()> {
    Ok(fs::renameat(from, old, to, new)?)
}

/// Removes what is no folder.
pub(crate) fn unlink(folder: impl AsFd, name: &OsStr) -> rustix::io::Result<()> {
    fs::unlinkat(folder, name, AtFlags::empty())
}

/// Removes an empty folder.
pub(crate) fn remove_folder(folder: impl AsFd, name: &OsStr) -> rustix::io::Result<()> {
    fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

/// Sets the mode of what `name` is, whatever mode it has; a link has none.
pub(crate) fn set_mode(folder: impl AsFd, name: &OsStr, mode: u32) -> io::Result<()> {
    let flags = OFlags::CLOEXEC | OFlags::PATH | OFlags::NOFOLLOW;
    let fd = fs::openat(folder, name, flags, Mode::empty())?;
    if FileStat::of(&fd)?.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a link has no mode"));
    }
    set_mode_of(fd.as_fd(), mode)
}

/// Sets the mode of what is behind a descriptor, also of one that was opened as a mere place (`O_PATH`).
pub(crate) fn set_mode_of(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    match fs::fchmod(fd, mode) {
        Err(Errno::BADF) => Ok(fs::chmod(through_proc(fd), mode)?),
        done => Ok(done?),
    }
}

/// Sets when `name`, a link itself where it is one, was changed.
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

/// A name that nobody else uses, for what is made aside of its place.
pub(crate) fn aside() -> std::ffi::OsString {
    use std::hash::{BuildHasher, RandomState};
    let chance = RandomState::new().hash_one(std::process::id());
    format!(".piku-new-{chance:016x}").into()
}

/// The kernel's own name of an open descriptor.
fn through_proc(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The entries of a folder, read bit by bit.
pub(crate) struct FolderEntries(fs::Dir);

impl FolderEntries {
    /// Those of an open folder, which is read from its beginning.
    pub(crate) fn new(folder: OwnedFd) -> io::Result<Self> {
        Ok(Self(fs::Dir::new(folder)?))
    }

    /// The descriptor of the folder.
    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.0.fd()?)
    }

    /// The next entry and its type, where the file system tells it.
    pub(crate) fn next(&mut self) -> io::Result<Option<(std::ffi::OsString, Option<FileKind>)>> {
        loop {
            let Some(entry) = self.0.read() else { return Ok(None) };
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let kind = entry.file_type();
                let kind = (kind != FileType::Unknown).then(|| kind.into());
                return Ok(Some((OsStr::from_bytes(name).to_owned(), kind)));
            }
        }
    }

    /// Begins anew.
    pub(crate) fn rewind(&mut self) {
        self.0.rewind();
    }
}
