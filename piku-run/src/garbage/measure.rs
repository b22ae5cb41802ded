//! How much a removal frees. Releases share files: one is freed with the last of its names.

use std::collections::HashMap;
use std::path::Path;

use piku_files::{FileStat, TreeError, TreeHandle, WalkStep};

/// Counts what is freed by removing one thing after the other.
#[derive(Debug, Default)]
pub(super) struct FreedSpace {
    /// How many names of a shared file are gone so far.
    names: HashMap<(u64, u64), u32>,
}

impl FreedSpace {
    /// What this one frees, after those that were asked for before.
    pub(super) fn frees(&mut self, path: &Path) -> u64 {
        let mut sum = 0;
        walk(path, &mut |stat| {
            if stat.is_dir() || stat.links <= 1 {
                sum += stat.disk;
                return;
            }
            let names = self.names.entry((stat.dev, stat.ino)).or_default();
            *names += 1;
            if *names == stat.links {
                sum += stat.disk;
            }
        });
        sum
    }
}

/// What it takes on the disk, if nothing else shares it.
pub(super) fn size(path: &Path) -> u64 {
    let mut sum = 0;
    walk(path, &mut |stat| {
        sum += if stat.is_dir() { stat.disk } else { stat.disk / u64::from(stat.links.max(1)) }
    });
    sum
}

/// Everything below, links not followed. What cannot be read is passed over: it is a count, and builds leave odd modes.
fn walk(path: &Path, visit: &mut dyn FnMut(&FileStat)) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
    let Ok(parent) = TreeHandle::open_following(parent) else { return };
    let Ok(stat) = parent.symlink_metadata(name) else { return };
    visit(&stat);
    if let Ok(tree) = parent.subtree(name) {
        walk_tree(&tree, visit);
    }
}

/// Visits everything in the tree, one folder at a time: a folder that cannot be read hides itself alone.
fn walk_tree(tree: &TreeHandle, visit: &mut dyn FnMut(&FileStat)) {
    let mut folders = Vec::new();
    let _ = tree.walk::<TreeError>(|entry| {
        visit(entry.stat());
        if entry.stat().is_dir() {
            folders.push(entry.name().to_owned());
        }
        Ok(WalkStep::Over)
    });
    for name in folders {
        if let Ok(below) = tree.subtree(&name) {
            walk_tree(&below, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_hostile_tree_is_counted_and_nothing_beyond_it() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir(&tree).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("large"), vec![1; 1 << 20]).unwrap();
        fs::write(tree.join("a"), vec![1; 8192]).unwrap();
        let alone = size(&tree);
        assert!((8192..100_000).contains(&alone), "{alone}");
        symlink(&outside, tree.join("out")).unwrap();
        symlink("/", tree.join("root")).unwrap();
        symlink(".", tree.join("loop")).unwrap();
        nix::unistd::mkfifo(&tree.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
        fs::File::create(tree.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        fs::create_dir_all(tree.join(OsStr::from_bytes(&[0xff; 255])).join("below")).unwrap();
        let all = size(&tree);
        assert!((alone..alone + 100_000).contains(&all), "{all} after {alone}");
        assert_eq!(FreedSpace::default().frees(&tree), all);
        assert_eq!(size(&dir.path().join("nothing")), 0);
    }
}
