//! Content hashes: a layer's name is the hash of everything that determines it.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context;
use piku_files::sha256;
use piku_files::{FileStat, TreeFile, TreeHandle};
use sha2::{Digest, Sha256};

/// Collects named facts; the same facts in the same order give the same key.
pub(crate) struct CacheKey(Sha256);

impl CacheKey {
    /// Starts a key for layers of this kind. Increase `format` when their content changes.
    pub(crate) fn new(kind: &str, format: u32) -> Self {
        let mut key = Self(Sha256::new());
        key.field(kind, &format.to_le_bytes());
        key
    }

    /// Adds one fact. Lengths go in too, so that no two lists of facts read the same.
    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// Adds a file of a tree, or a folder in it with all below it that `takes` wants: names, kinds, execute
    /// bits, contents.
    pub(crate) fn add_tree(
        &mut self,
        tree: &TreeHandle,
        path: &Path,
        takes: &dyn Fn(&Path) -> bool,
    ) -> anyhow::Result<()> {
        let top = path;
        tree.walk_sorted(top, |path, stat| {
            let below = path.strip_prefix(top).unwrap_or(path);
            self.add_entry(tree, path, below, stat, takes)
        })
    }

    /// `below` is the path from where the folder begins.
    fn add_entry(
        &mut self,
        tree: &TreeHandle,
        path: &Path,
        below: &Path,
        stat: &FileStat,
        takes: &dyn Fn(&Path) -> bool,
    ) -> anyhow::Result<()> {
        let name = below.to_string_lossy();
        if stat.is_dir() {
            self.field("folder", name.as_bytes());
        } else if !takes(below) && !below.as_os_str().is_empty() {
            // Not an input of the layer.
        } else if stat.is_symlink() {
            self.field(&format!("link {name}"), tree.read_link(path)?.as_os_str().as_bytes());
        } else if stat.is_file() {
            let runs = stat.mode & 0o100 != 0;
            let content = hash_file(tree.open_file(path)?)
                .with_context(|| format!("cannot read '{}'", path.display()))?;
            self.field(&format!("file {name} {runs}"), &content);
        }
        Ok(())
    }

    /// Returns the key as 64 hex digits.
    pub(crate) fn finish(self) -> String {
        sha256::to_hex(&self.0.finalize())
    }
}

/// Returns the hash of a file's content.
fn hash_file(file: TreeFile) -> io::Result<[u8; 32]> {
    // Only up to its size when it was opened: another process may append to it forever.
    sha256::hash_reader(&mut file.file.take(file.stat.len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn key(facts: &[(&str, &str)]) -> String {
        let mut key = CacheKey::new("test", 1);
        for (name, value) in facts {
            key.field(name, value.as_bytes());
        }
        key.finish()
    }

    #[test]
    fn facts_do_not_run_into_each_other() {
        assert_eq!(key(&[("a", "b")]), key(&[("a", "b")]));
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", "")]), key(&[]));
        assert_eq!(key(&[]).len(), 64);
    }

    #[test]
    fn a_tree_is_its_names_contents_and_execute_bits() {
        let dir = tempfile::tempdir().unwrap();
        let of = |takes: &dyn Fn(&Path) -> bool| {
            let mut key = CacheKey::new("test", 1);
            key.add_tree(&TreeHandle::open(dir.path()).unwrap(), Path::new(""), takes).unwrap();
            key.finish()
        };
        let all = |_: &Path| true;
        fs::write(dir.path().join("a"), "1").unwrap();
        let first = of(&all);
        assert_eq!(first, of(&all));
        fs::set_permissions(dir.path().join("a"), Permissions::from_mode(0o755)).unwrap();
        let second = of(&all);
        assert_ne!(first, second);
        fs::write(dir.path().join("b.py"), "1").unwrap();
        assert_ne!(second, of(&all));
        assert_eq!(second, of(&|path: &Path| !path.ends_with("b.py")));
    }
}
