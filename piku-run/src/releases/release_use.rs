//! The use of a release by a command of `piku run`, which no record names: a lock on the directory of the release. While
//! it is held, the release is not collected, and no build takes its tree.

use std::io;

use anyhow::Context;
use piku_files::{FileLock, TreeHandle};
use piku_layout::paths::AppDir;

/// Keeps a release as it is. `None` where the file system has no locks.
///
/// # Errors
/// Fails if there is no such release.
pub(crate) fn begin(dir: &AppDir, number: u64) -> anyhow::Result<Option<FileLock<TreeHandle>>> {
    let path = dir.release(number);
    let cannot = || format!("cannot use '{}'", path.display());
    match FileLock::shared(TreeHandle::open_following(&path).with_context(cannot)?) {
        Err(err) if err.kind() == io::ErrorKind::Unsupported => Ok(None),
        lock => lock.with_context(cannot).map(Some),
    }
}

/// Returns true while a process uses the release.
pub(crate) fn is_used(dir: &AppDir, number: u64) -> bool {
    let opened = TreeHandle::open_following(&dir.release(number));
    opened.is_ok_and(|release| FileLock::try_exclusive(release).is_ok_and(|lock| lock.is_none()))
}
