//! The tree of the jail's programs, the host's or another one. Its symlinks are resolved within it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;

use crate::errors::quoted;
use crate::plan::{BASE_DIRECTORIES, JailPlan};
use crate::root::folder::OpenedFolder;
use crate::root::tree::{self, HostTree, READ_ONLY};

/// Buffer size for directory entries: an `/etc` is listed in one call.
const LISTED_AT_ONCE: usize = 16 * 1024;

pub(crate) struct OpenedBase(OwnedFd);

/// An entry of a directory of the base, not opened yet.
pub(crate) struct BaseEntry {
    pub(crate) name: OsString,
    /// Set if it is known to be a directory.
    pub(crate) is_folder: bool,
}

impl BaseEntry {
    /// Returns an entry of which nothing is known.
    pub(crate) fn new(name: impl Into<OsString>) -> Self {
        Self { name: name.into(), is_folder: false }
    }
}

impl OpenedBase {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let fd = tree::open_source(dir)?;
        ensure!(tree::is_folder(&fd)?, "{} is not a directory", quoted(dir));
        Ok(Self(fd))
    }

    /// Shows its programs and libraries: symlinks as they are, directories read-only.
    pub(crate) fn mount_in(&self, root: &OpenedFolder, plan: &JailPlan) -> Result<()> {
        for name in BASE_DIRECTORIES
            .map(Path::new)
            .into_iter()
            .filter(|name| !plan.is_mount_point(&Path::new("/").join(name)))
        {
            if let Some(target) = read_symlink(&self.0, name)? {
                root.make_symlink(name, &target)?;
            } else if let Some(fd) = self.open_path(name, OFlags::PATH | OFlags::DIRECTORY)? {
                let tree = HostTree::copy(fd, true, READ_ONLY);
                root.make_dir(name)?;
                root.mount(name, tree.with_context(|| format!("cannot mount '/{}'", name.display()))?)?;
            }
        }
        Ok(())
    }

    /// Resolves a path and opens it for reading; `None` if it does not exist or may not be read.
    pub(crate) fn follow(&self, path: &Path) -> Result<Option<OwnedFd>> {
        self.open_path(path, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// Opens a directory; `None` if it does not exist or may not be read.
    pub(crate) fn open_dir(&self, path: &Path) -> Result<Option<OwnedFd>> {
        self.open_path(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a directory and returns those of its entries that are `wanted`; `None` if it does not exist or
    /// may not be read.
    pub(crate) fn list(
        &self,
        path: &Path,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> Result<Option<(OwnedFd, Vec<BaseEntry>)>> {
        let Some(fd) = self.open_dir(path)? else { return Ok(None) };
        let mut buffer = [MaybeUninit::uninit(); LISTED_AT_ONCE];
        let mut entries = RawDir::new(&fd, &mut buffer);
        let mut found = Vec::new();
        while let Some(entry) = entries.next() {
            let entry =
                entry.map_err(io::Error::from).with_context(|| format!("cannot list {}", quoted(path)))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if wanted(name) {
                let is_folder = entry.file_type() == FileType::Directory;
                found.push(BaseEntry { name: name.to_owned(), is_folder });
            }
        }
        Ok(Some((fd, found)))
    }

    fn open_path(&self, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open = || openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        let mut opened = open();
        // Something was renamed or mounted while a `..` was resolved.
        while opened.as_ref().is_err_and(|err| *err == Errno::AGAIN) {
            opened = open();
        }
        match opened {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NXIO) => Ok(None),
            Err(err) => Err(io::Error::from(err)).with_context(|| format!("cannot open {}", quoted(path))),
        }
    }
}

/// Reads the target of a symlink; `None` if there is no such entry, or it is no symlink.
pub(crate) fn read_symlink(folder: &OwnedFd, name: &Path) -> Result<Option<PathBuf>> {
    match readlinkat(folder, name, Vec::new()) {
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()).into())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(err) => Err(io::Error::from(err)).with_context(|| format!("cannot read {}", quoted(name))),
    }
}

/// Returns the first `size` bytes of a file, fewer where it has not so many.
pub(crate) fn read(file: OwnedFd, size: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    let (mut file, mut filled) = (File::from(file), 0);
    while filled < content.len() {
        match file.read(&mut content[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    content.truncate(filled);
    Ok(content)
}

impl AsFd for OpenedBase {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
