//! A finished release is on the disk before it has its name. Of a redeploy only what is new is synced: a sync of the whole file
//! system waits for all that the apps, and other builds, are writing meanwhile.

use std::io;
use std::path::PathBuf;
use std::thread;

use anyhow::Context;
use piku_files::{FolderCursor, TreeError, TreeHandle, WalkStep};

/// From so many files and folders on one sync of the whole file system is quicker; for 100,000 files it is seconds to minutes.
const MANY: usize = 32;

/// Puts all in the tree `new` on the disk. What it shares with `old`, by hard links in the same places, is there already.
pub(crate) fn put(new: &TreeHandle, old: Option<&TreeHandle>) -> anyhow::Result<()> {
    let found = find(new, old)?;
    if found.len() >= MANY {
        return Ok(new.sync_file_system()?);
    }
    match at_once(new, &found) {
        // A step has left a file that its owner may not read.
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => Ok(new.sync_file_system()?),
        done => done.with_context(|| format!("cannot sync '{}'", new.path().display())),
    }
}

/// One after the other each sync would wait for a commit of its own.
fn at_once(tree: &TreeHandle, paths: &[PathBuf]) -> io::Result<()> {
    thread::scope(|scope| {
        let begun: Vec<_> = paths.iter().map(|path| scope.spawn(move || Ok(tree.sync(path)?))).collect();
        begun
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| Err(io::Error::other("it panicked"))))
    })
}

/// The files that are new, and all folders; not all of them once they are many.
fn find(new: &TreeHandle, old: Option<&TreeHandle>) -> Result<Vec<PathBuf>, TreeError> {
    let mut found = vec![PathBuf::new()];
    let mut old = old.map(FolderCursor::new);
    new.walk(|entry| {
        if found.len() >= MANY {
            return Ok::<_, TreeError>(WalkStep::Stop);
        }
        let mut is_shared = || {
            let there = old.as_mut()?.symlink_metadata(entry.path()).ok()??;
            Some(there.is_same(entry.stat()))
        };
        if entry.stat().is_dir() || entry.stat().is_file() && is_shared() != Some(true) {
            found.push(entry.path().to_owned());
        }
        Ok(WalkStep::Into)
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_shared_is_not_new() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        for file in ["old/a", "old/sub/b", "old/c", "new/c", "new/sub/d"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        // A name more for a file of its own is no reason to leave it out.
        for (from, to) in [("old/a", "new/a"), ("old/sub/b", "new/sub/b"), ("new/c", "new/sub/e")] {
            fs::hard_link(dir.path().join(from), dir.path().join(to)).unwrap();
        }
        let [old, new] = [old, new].map(|path| TreeHandle::open(&path).unwrap());
        let mut names = find(&new, Some(&old)).unwrap();
        names.sort();
        assert_eq!(names, ["", "c", "sub", "sub/d", "sub/e"].map(PathBuf::from));
        put(&new, Some(&old)).unwrap();
        put(&new, None).unwrap();
    }
}
