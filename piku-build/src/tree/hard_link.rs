//! Shares equal files between a release and the previous one by hard links, so that ten releases of an app
//! take little more space than one. Inside a jail releases are read-only; without a jail nothing is shared.
//!
//! Steps have written both trees: what is linked is the very file that was opened beneath the old one's
//! handle and compared.

use std::io;
use std::path::Path;

use piku_files::{FileStat, FolderCursor, TreeFile, TreeHandle, WalkStep, is_link_refused};

use crate::step::interrupt;
use crate::tree::tree_comparison::same_bytes;
use piku_release::manifest::{BuiltRelease, TREE};

/// Returns the tree of the release in the directory `before`; `None` if it is missing or writable for the
/// app's processes.
pub(crate) fn open_previous(before: &Path) -> Option<TreeHandle> {
    // The operator's own link may lead nowhere now.
    BuiltRelease::read(before).ok().filter(|release| release.jailed)?;
    TreeHandle::open(&before.join(TREE)).ok()
}

/// Links files of `tree` that are equal to those of `tree` of the old release.
pub(crate) fn share_files(old: &TreeHandle, tree: &TreeHandle) -> anyhow::Result<()> {
    let mut old = FolderCursor::new(old);
    tree.walk(|entry| {
        if entry.stat().is_dir() {
            interrupt::check()?;
        }
        if !entry.stat().is_file() || entry.stat().len == 0 {
            return Ok(WalkStep::Into);
        }
        // A path that is missing, is not a file or cannot be read is not equal.
        let Ok(Some(there)) = old.symlink_metadata(entry.path()) else { return Ok(WalkStep::Into) };
        if !has_same_metadata(&there, entry.stat()) {
            return Ok(WalkStep::Into);
        }
        let Ok(Some(there)) = old.open_file(entry.path()) else { return Ok(WalkStep::Into) };
        if !has_same_content(&there, &entry.open_file()?)? {
            return Ok(WalkStep::Into);
        }
        match entry.replace_by_link(&there) {
            // The number of links to a file is limited; the new file then stays separate.
            Err(err) if err.kind() == io::ErrorKind::TooManyLinks => Ok(WalkStep::Into),
            // On another file system, or one without links, nothing can be shared.
            Err(err) if is_link_refused(err.kind()) => Ok(WalkStep::Stop),
            done => Ok(done.map(|()| WalkStep::Into)?),
        }
    })
}

/// Returns whether two open files have the same rights and content, and are not one already.
pub(crate) fn has_same_content(old: &TreeFile, new: &TreeFile) -> io::Result<bool> {
    Ok(has_same_metadata(&old.stat, &new.stat) && same_bytes(&old.file, &new.file)?)
}

/// Returns whether they may be the same: two files with the same rights and length. Rights of the group do
/// not count.
pub(crate) fn has_same_metadata(old: &FileStat, new: &FileStat) -> bool {
    old.is_file()
        && new.is_file()
        && (old.len, old.mode_without_group(), old.uid) == (new.len, new.mode_without_group(), new.uid)
        && !old.is_same(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn only_files_of_the_old_release_itself_are_shared() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for folder in ["victim", "old/own", "new/own", "new/folder", "new/absolute", "new/chain"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in [
            "victim/diary",
            "old/same",
            "new/same",
            "old/own/diary",
            "new/own/diary",
            "new/folder/diary",
            "new/absolute/diary",
            "new/chain/diary",
            "new/file",
        ] {
            fs::write(at(file), "dear diary").unwrap();
        }
        symlink("../victim", at("old/folder")).unwrap();
        symlink(at("victim"), at("old/absolute")).unwrap();
        symlink("folder", at("old/chain")).unwrap();
        symlink("../victim/diary", at("old/file")).unwrap();
        let [old, new] = ["old", "new"].map(|name| TreeHandle::open(&at(name)).unwrap());
        share_files(&old, &new).unwrap();
        let inode = |path: &str| fs::symlink_metadata(at(path)).unwrap().ino();
        assert_eq!(inode("old/same"), inode("new/same"));
        assert_eq!(inode("old/own/diary"), inode("new/own/diary"));
        assert_eq!(fs::metadata(at("victim/diary")).unwrap().nlink(), 1);
    }
}
