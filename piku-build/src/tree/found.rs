//! Location of a file that a process will see: on the host, or in a tree that steps have written. Files of
//! the host are read by their paths, files of a tree through its handle only.

#![expect(
    clippy::disallowed_methods,
    reason = "what is the host's own is looked at by its path; what lies in a tree through its handle"
)]

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use piku_files::TreeHandle;

/// Location of a file.
#[derive(Debug, Clone)]
pub(crate) enum FilePlace {
    Host(PathBuf),
    Tree(TreeHandle, PathBuf),
}

impl FilePlace {
    /// Returns the location of a path below this one.
    pub(crate) fn join(&self, below: impl AsRef<Path>) -> Self {
        let below = below.as_ref();
        match self {
            // Without a slash at the end, which would ask for a folder.
            place if below.as_os_str().is_empty() => place.clone(),
            Self::Host(path) => Self::Host(path.join(below)),
            Self::Tree(tree, path) => Self::Tree(tree.clone(), path.join(below)),
        }
    }

    /// Returns whether a file, directory or link exists there.
    pub(crate) fn exists(&self) -> bool {
        match self {
            Self::Host(path) => fs::symlink_metadata(path).is_ok(),
            Self::Tree(tree, path) => tree.symlink_metadata(path).is_ok(),
        }
    }

    /// Returns the target of a link.
    pub(crate) fn read_link(&self) -> Option<PathBuf> {
        match self {
            Self::Host(path) => fs::read_link(path).ok(),
            Self::Tree(tree, path) => tree.read_link(path).ok(),
        }
    }

    /// Returns whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        match self {
            Self::Host(path) => path.is_file(),
            Self::Tree(tree, path) => tree.is_file(path),
        }
    }

    /// Returns whether it is a folder.
    pub(crate) fn is_dir(&self) -> bool {
        match self {
            Self::Host(path) => path.is_dir(),
            Self::Tree(tree, path) => tree.is_dir(path),
        }
    }

    /// Returns whether it is a file with an execute bit.
    pub(crate) fn runs(&self) -> bool {
        match self {
            Self::Host(path) => is_executable(path),
            Self::Tree(tree, path) => {
                tree.metadata(path).is_ok_and(|stat| stat.is_file() && stat.mode & 0o111 != 0)
            }
        }
    }

    /// Opens it, where it is a regular file.
    ///
    /// # Errors
    /// Fails if it is not a regular file or cannot be opened.
    pub(crate) fn open(&self) -> io::Result<File> {
        match self {
            Self::Host(path) => open_host_file(path),
            Self::Tree(tree, path) => Ok(tree.open_file(path)?.file),
        }
    }

    /// Reads at most `most` bytes; empty if it is not a regular file.
    pub(crate) fn read_start(&self, most: u64) -> Vec<u8> {
        let mut text = Vec::new();
        // An unreadable file counts as empty.
        let _ = self.open().and_then(|file| file.take(most).read_to_end(&mut text));
        text
    }

    /// Lists the names in a directory; empty if it is not a directory.
    pub(crate) fn list_names(&self) -> Vec<String> {
        let names = |path: &Path| -> Vec<_> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name()).collect()
        };
        let found = match self {
            Self::Host(path) => names(path),
            Self::Tree(tree, path) => {
                tree.read_dir(path).unwrap_or_default().into_iter().map(|entry| entry.name).collect()
            }
        };
        // Programs and modules have names that are text.
        found.into_iter().filter_map(|name| name.into_string().ok()).collect()
    }
}

/// Opens a regular file of the host without blocking.
fn open_host_file(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// Returns whether a path of the host is a file with an execute bit.
pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
