//! A release shares with the one before it each file that is the same in both, by a hard link: ten releases of an app need little
//! more room than one. In a jail nobody can write to a release, so nobody notices; where there is no jail nothing is shared.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::errno::Errno;

use crate::copy::{self, Leave};
use crate::difference;
use crate::release::{Release, TREE};

/// The name of a link until it takes the file's place.
const ASIDE: &str = ".piku-share";

/// The tree of the release in the folder `before`; nothing when it is not there, or not closed to its workers.
pub(crate) fn tree_of(before: &Path) -> Option<PathBuf> {
    // The operator's own link; what lies behind it may be gone by now.
    Release::read(before).ok().filter(|release| release.jailed).map(|_| before.join(TREE))
}

/// Shares what is the same in `tree` and in the tree `old` of a release.
pub(crate) fn with(old: &Path, tree: &Path) -> anyhow::Result<()> {
    let mut refused = false;
    copy::walk(tree, &Leave::new([]), &mut |path, meta| {
        if refused || !meta.is_file() || meta.len() == 0 {
            return Ok(());
        }
        let old = old.join(path.strip_prefix(tree).unwrap_or(path));
        let cannot = || format!("cannot share '{}'", path.display());
        if !same(&old, path, meta).with_context(cannot)? {
            return Ok(());
        }
        match replace(&old, path) {
            // A file can have so many names and no more; the new one then stays a file of its own.
            Err(err) if err.raw_os_error() == Some(Errno::EMLINK as i32) => Ok(()),
            // Another file system, or one without links: none of them can be shared.
            Err(err)
                if matches!(
                    err.raw_os_error().map(Errno::from_raw),
                    Some(Errno::EXDEV | Errno::EPERM | Errno::EOPNOTSUPP)
                ) =>
            {
                refused = true;
                Ok(())
            }
            done => done.with_context(cannot),
        }
    })
}

fn replace(old: &Path, new: &Path) -> io::Result<()> {
    let aside = new.with_file_name(ASIDE);
    fs::hard_link(old, &aside)?;
    fs::rename(&aside, new)
}

/// Whether there is a file `old` with the same rights and content as `new`, and they are not one file already.
pub(crate) fn same(old: &Path, new: &Path, about: &Metadata) -> io::Result<bool> {
    let alike = fs::symlink_metadata(old).is_ok_and(|old| {
        old.is_file()
            && old.len() == about.len()
            && old.mode() == about.mode()
            && old.uid() == about.uid()
            && old.ino() != about.ino()
    });
    Ok(alike && difference::same_content(old, new)?)
}
