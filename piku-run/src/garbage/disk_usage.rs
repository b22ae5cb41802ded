//! Measures the space that a removal frees. Releases share files by hard links: a file is freed with its last
//! link.

use std::collections::HashMap;
use std::path::Path;

use piku_files::{FileStat, TreeError, TreeHandle, WalkStep};

/// Counts the bytes freed by removing several trees one after the other.
#[derive(Debug, Default)]
pub(crate) struct FreedSpace {
    /// Links removed so far, by the device and inode of a shared file.
    removed_links: HashMap<(u64, u64), u32>,
}

impl FreedSpace {
    /// Returns the bytes that removing this tree frees, after those of earlier calls.
    pub(crate) fn add_tree(&mut self, path: &Path) -> u64 {
        let mut sum = 0;
        walk(path, &mut |stat| {
            if stat.is_dir() || stat.links <= 1 {
                sum += stat.disk;
                return;
            }
            let removed = self.removed_links.entry((stat.dev, stat.ino)).or_default();
            *removed += 1;
            if *removed == stat.links {
                sum += stat.disk;
            }
        });
        sum
    }
}

/// Returns the bytes that a tree uses on disk; a file with several links counts in proportion.
pub(super) fn size_of(path: &Path) -> u64 {
    let mut sum = 0;
    walk(path, &mut |stat| {
        sum += if stat.is_dir() { stat.disk } else { stat.disk / u64::from(stat.links.max(1)) }
    });
    sum
}

/// Visits the path and everything below it without following symlinks. Unreadable entries are skipped: builds
/// leave odd modes, and a count need not be exact.
fn walk(path: &Path, visit: &mut dyn FnMut(&FileStat)) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
    let Ok(parent) = TreeHandle::open_following(parent) else { return };
    let Ok(stat) = parent.symlink_metadata(name) else { return };
    visit(&stat);
    if let Ok(tree) = parent.subtree(name) {
        walk_tree(&tree, visit);
    }
}

/// Visits everything in the tree, one directory at a time: an unreadable directory hides only itself.
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
    fn a_hostile_tree_is_counted_without_what_its_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir(&tree).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("large"), vec![1; 1 << 20]).unwrap();
        fs::write(tree.join("a"), vec![1; 8192]).unwrap();
        let alone = size_of(&tree);
        assert!((8192..100_000).contains(&alone), "{alone}");
        symlink(&outside, tree.join("out")).unwrap();
        symlink("/", tree.join("root")).unwrap();
        symlink(".", tree.join("loop")).unwrap();
        nix::unistd::mkfifo(&tree.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
        fs::File::create(tree.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        fs::create_dir_all(tree.join(OsStr::from_bytes(&[0xff; 255])).join("below")).unwrap();
        let all = size_of(&tree);
        assert!((alone..alone + 100_000).contains(&all), "{all} after {alone}");
        assert_eq!(FreedSpace::default().add_tree(&tree), all);
        assert_eq!(size_of(&dir.path().join("nothing")), 0);
    }
}
