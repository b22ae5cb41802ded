//! Compares two trees of files. Times do not count, nor does bytecode, in which Python keeps the times of its
//! sources, nor the list in which Rails' Sprockets keeps the times of assets, each of which has its content's
//! hash in its name.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use piku_files::{FileStat, FolderCursor, TreeError, TreeHandle};

/// Larger files are not searched for paths.
const TEXT: u64 = 1 << 20;

/// Two trees. `names.0` in one equals `names.1` in the other: without a jail, a layer contains its own path
/// with its key.
pub(crate) struct TreePair<'a> {
    pub(crate) old: &'a TreeHandle,
    pub(crate) new: &'a TreeHandle,
    /// Text of the old tree, and the text that replaces it in the new one.
    pub(crate) names: (&'a str, &'a str),
}

/// State of a comparison: the same directory in both trees.
struct TreeComparison<'a> {
    trees: &'a TreePair<'a>,
    old: FolderCursor<'a>,
    new: FolderCursor<'a>,
    found: Vec<PathBuf>,
}

impl TreePair<'_> {
    /// Returns the paths that are in one of them only, or not the same in both; in order.
    pub(crate) fn find_differences(&self) -> anyhow::Result<Vec<PathBuf>> {
        let (old, new) = (FolderCursor::new(self.old), FolderCursor::new(self.new));
        let mut comparison = TreeComparison { trees: self, old, new, found: Vec::new() };
        comparison.folder(Path::new(""))?;
        Ok(comparison.found)
    }
}

impl TreeComparison<'_> {
    fn folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let (left, right) = (list_names(self.trees.old, folder)?, list_names(self.trees.new, folder)?);
        for name in left.union(&right) {
            let path = folder.join(name);
            let (old, new) = (self.old.symlink_metadata(&path)?, self.new.symlink_metadata(&path)?);
            match (old, new) {
                (Some(old), Some(new)) if old.is_dir() && new.is_dir() => self.folder(&path)?,
                (Some(old), Some(new)) if self.alike(&path, &old, &new)? => {}
                _ => self.found.push(path),
            }
        }
        Ok(())
    }

    fn alike(&mut self, path: &Path, old: &FileStat, new: &FileStat) -> anyhow::Result<bool> {
        if old.kind != new.kind {
            return Ok(false);
        }
        let TreePair { old: left, new: right, names } = *self.trees;
        if old.is_symlink() {
            let target = |tree: &TreeHandle| tree.read_link(path).map(|to| to.to_string_lossy().into_owned());
            return Ok(target(left)?.replace(names.0, names.1) == target(right)?);
        }
        // Pipes, sockets and devices have no content, and opening a pipe would block.
        if !old.is_file() {
            return Ok(true);
        }
        if old.mode & 0o111 != new.mode & 0o111 {
            return Ok(false);
        }
        let (Some(mut old), Some(mut new)) = (self.old.open_file(path)?, self.new.open_file(path)?) else {
            return Ok(false);
        };
        if old.stat.len == new.stat.len && same_bytes(&old.file, &new.file)? {
            return Ok(true);
        }
        if old.stat.len.max(new.stat.len) > TEXT || names.0 == names.1 {
            return Ok(false);
        }
        io::Seek::rewind(&mut old.file)?;
        io::Seek::rewind(&mut new.file)?;
        let (old, new) = (old.read_bounded(TEXT)?, new.read_bounded(TEXT)?);
        Ok(String::from_utf8_lossy(&old).replace(names.0, names.1) == String::from_utf8_lossy(&new))
    }
}

/// Returns whether two open files of the same length have the same content from their current positions on.
pub(crate) fn same_bytes(mut left: &File, mut right: &File) -> io::Result<bool> {
    use std::io::Read;
    let (mut one, mut other) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let count = left.read(&mut one)?;
        if count == 0 {
            return Ok(true);
        }
        match right.read_exact(&mut other[..count]) {
            Ok(()) if one[..count] == other[..count] => {}
            Ok(()) => return Ok(false),
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(err) => return Err(err),
        }
    }
}

/// Returns whether a file of this name keeps the times of other files.
fn keeps_times(name: &[u8]) -> bool {
    name == b"__pycache__" || name.ends_with(b".pyc") || name.starts_with(b".sprockets-manifest-")
}

fn list_names(tree: &TreeHandle, folder: &Path) -> Result<BTreeSet<OsString>, TreeError> {
    let names = tree.read_dir(folder)?.into_iter().map(|entry| entry.name);
    Ok(names.filter(|name| !keeps_times(name.as_encoded_bytes())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn tree(top: &Path, files: &[(&str, &str)]) -> TreeHandle {
        for (name, text) in files {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        TreeHandle::open(top).unwrap()
    }

    #[test]
    fn what_counts_and_what_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("a/x", "1"),
            ("a/__pycache__/x.pyc", "2"),
            ("bin/pip", "#!/layers/k1/python\n"),
            (".sprockets-manifest-2.json", "5"),
            ("z", ""),
        ];
        let old = tree(&dir.path().join("old"), &files);
        let differ = |new: &TreeHandle, names| TreePair { old: &old, new, names }.find_differences().unwrap();

        let same = [
            ("a/x", "1"),
            ("a/__pycache__/x.pyc", "3"),
            ("bin/pip", "#!/layers/key2/python\n"),
            (".sprockets-manifest-1.json", "4"),
            ("z", ""),
        ];
        let new = tree(&dir.path().join("same"), &same);
        assert_eq!(differ(&new, ("k1", "key2")), Vec::<PathBuf>::new());
        assert_eq!(differ(&new, ("", "")), [PathBuf::from("bin/pip")]);

        let new = tree(
            &dir.path().join("new"),
            &[("a/x/y", "1"), ("bin/pip", "#!/layers/k1/python\n"), ("zz", "")],
        );
        assert_eq!(differ(&new, ("", "")), ["a/x", "z", "zz"].map(PathBuf::from));
        fs::set_permissions(dir.path().join("new/bin/pip"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(differ(&new, ("", "")).len(), 4);
    }

    #[test]
    fn pipes_are_not_opened() {
        use nix::sys::stat::Mode;
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| tree(&dir.path().join(name), &[("x", "1")]));
        for top in [&old, &new] {
            nix::unistd::mkfifo(&top.path().join("pipe"), Mode::S_IRWXU).unwrap();
        }
        let trees = TreePair { old: &old, new: &new, names: ("", "") };
        assert!(trees.find_differences().unwrap().is_empty());
        new.write("pipe", "", 0o644).unwrap();
        assert_eq!(trees.find_differences().unwrap(), [PathBuf::from("pipe")]);
    }
}
