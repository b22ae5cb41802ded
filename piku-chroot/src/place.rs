//! Places in the new root: folders, links and files, made one part of a path at a time and never through a link.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, symlinkat};
use rustix::io::Errno;

use crate::cli::shown;
use crate::plan::Plan;

/// The new root as long as it is being made. Paths may be absolute; they are all below it.
pub(crate) struct Places<'a> {
    root: BorrowedFd<'a>,
    plan: &'a Plan,
}

impl<'a> Places<'a> {
    pub(crate) fn new(root: &'a OwnedFd, plan: &'a Plan) -> Self {
        Self { root: root.as_fd(), plan }
    }

    /// Whether the caller wants nothing of his own there.
    pub(crate) fn is_free(&self, path: &Path) -> bool {
        !self.plan.takes(&Path::new("/").join(path))
    }

    /// A folder, made with all its parents where it is not there.
    pub(crate) fn folder(&self, path: &Path) -> Result<OwnedFd> {
        let context = || format!("cannot make {}", shown(path));
        let mut folder = self.open(self.root, Path::new(".")).with_context(context)?;
        for part in relative(path) {
            match mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(err) => return Err(io::Error::from(err)).with_context(context),
            }
            folder = self.open(folder.as_fd(), Path::new(part)).with_context(context)?;
        }
        Ok(folder)
    }

    /// A file that holds these bytes.
    pub(crate) fn file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let context = || format!("cannot make {}", shown(path));
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, &name, flags, Mode::from_raw_mode(0o644)).map_err(io::Error::from);
        std::fs::File::from(file.with_context(context)?).write_all(bytes).with_context(context)
    }

    /// A symbolic link, unless the caller wants something else there.
    pub(crate) fn link(&self, path: &Path, target: &Path) -> Result<()> {
        if !self.is_free(path) {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        symlinkat(target, &parent, &name)
            .map_err(io::Error::from)
            .with_context(|| format!("cannot make {}", shown(path)))
    }

    /// What is there, to be mounted on.
    pub(crate) fn find(&self, path: &Path) -> Result<OwnedFd> {
        let found = self.open(self.root, &relative(path).collect::<PathBuf>());
        match found.as_ref().map_err(io::Error::raw_os_error) {
            Err(Some(nix::libc::ELOOP)) => {
                found.with_context(|| format!("there is a symbolic link on the way to {}", shown(path)))
            }
            Err(Some(nix::libc::ENOENT)) => {
                found.with_context(|| format!("the tree around it has no {}", shown(path)))
            }
            _ => found.with_context(|| format!("cannot open {}", shown(path))),
        }
    }

    fn parent(&self, path: &Path) -> Result<(OwnedFd, PathBuf)> {
        let name = path.file_name().with_context(|| format!("{} has no name", shown(path)))?;
        Ok((self.folder(path.parent().unwrap_or(Path::new("")))?, name.into()))
    }

    /// No link of anybody is followed, and nothing outside is reached.
    #[expect(clippy::unused_self, reason = "it belongs to the others")]
    fn open(&self, from: BorrowedFd, path: &Path) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(from, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }
}

/// The parts of a path without the root before them.
fn relative(path: &Path) -> impl Iterator<Item = &Path> {
    path.strip_prefix("/").unwrap_or(path).iter().map(Path::new)
}
