//! A finished release is on the disk before it has its name. Of a redeploy only what is new is synced: a sync of the whole file
//! system waits for all that the apps, and other builds, are writing meanwhile.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context;
use nix::unistd::syncfs;

/// From so many files and folders on one sync of the whole file system is quicker; for 100,000 files it is seconds to minutes.
const MANY: usize = 32;

/// Puts all below the folder `new` on the disk. What it shares with `old`, by hard links in the same places, is there already.
pub(crate) fn put(new: &Path, old: Option<&Path>) -> anyhow::Result<()> {
    let cannot = || format!("cannot sync '{}'", new.display());
    let mut found = Vec::new();
    find(new, old, &mut found).with_context(cannot)?;
    let all = || File::open(new).and_then(|dir| Ok(syncfs(dir)?));
    if found.len() >= MANY {
        return all().with_context(cannot);
    }
    match at_once(&found) {
        // A step has left a file that its owner may not read.
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => all(),
        done => done,
    }
    .with_context(cannot)
}

/// One after the other each sync would wait for a commit of its own.
fn at_once(paths: &[PathBuf]) -> io::Result<()> {
    let sync = |path: &PathBuf| File::open(path)?.sync_all();
    thread::scope(|scope| {
        let begun: Vec<_> = paths.iter().map(|path| scope.spawn(move || sync(path))).collect();
        begun
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| Err(io::Error::other("it panicked"))))
    })
}

/// The files that are new, and all folders, each behind what is in it; not all of them once they are many.
fn find(new: &Path, old: Option<&Path>, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(new)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let old = old.map(|old| old.join(entry.file_name()));
        if found.len() >= MANY {
            return Ok(());
        }
        if meta.is_dir() {
            find(&entry.path(), old.as_deref(), found)?;
        } else if meta.is_file() && !old.is_some_and(|old| is_one(&old, &meta)) {
            found.push(entry.path());
        }
    }
    found.push(new.to_owned());
    Ok(())
}

fn is_one(old: &Path, new: &Metadata) -> bool {
    fs::symlink_metadata(old).is_ok_and(|old| (old.dev(), old.ino()) == (new.dev(), new.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut found = Vec::new();
        find(&new, Some(&old), &mut found).unwrap();
        let mut names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(&new).unwrap().to_owned()).collect();
        assert_eq!(names.pop(), Some(PathBuf::new()));
        names.sort();
        assert_eq!(names, ["c", "sub", "sub/d", "sub/e"].map(PathBuf::from));
        put(&new, Some(&old)).unwrap();
        put(&new, None).unwrap();
    }
}
