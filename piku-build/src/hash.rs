//! Content hashes: a layer's name is the hash of everything that determines it.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Collects named facts; the same facts in the same order give the same key.
pub(crate) struct Key(Sha256);

impl Key {
    /// A key of this kind; a change of what layers of the kind look like changes `format`.
    pub(crate) fn new(kind: &str, format: u32) -> Self {
        let mut key = Self(Sha256::new());
        key.fact(kind, &format.to_le_bytes());
        key
    }

    /// Adds one fact. Lengths go in too, so that no two lists of facts read the same.
    pub(crate) fn fact(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// Adds a file, or a folder with all below it that `takes` wants: names, kinds, execute bits, contents.
    pub(crate) fn tree(&mut self, path: &Path, takes: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
        self.entry(path, path, takes)
    }

    fn entry(&mut self, top: &Path, path: &Path, takes: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
        let below = path.strip_prefix(top).unwrap_or(path);
        let name = below.to_string_lossy();
        let meta = fs::symlink_metadata(path).with_context(|| format!("cannot read '{}'", path.display()))?;
        if meta.is_dir() {
            self.fact("folder", name.as_bytes());
            let mut names = fs::read_dir(path)
                .and_then(|entries| {
                    entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
                })
                .with_context(|| format!("cannot read '{}'", path.display()))?;
            names.sort();
            for name in names {
                self.entry(top, &path.join(name), takes)?;
            }
        } else if !takes(below) && path != top {
            // Not part of what determines the layer.
        } else if meta.is_symlink() {
            let target = fs::read_link(path).with_context(|| format!("cannot read '{}'", path.display()))?;
            self.fact(&format!("link {name}"), target.as_os_str().as_bytes());
        } else if meta.is_file() {
            let runs = meta.permissions().mode() & 0o100 != 0;
            let content = hash_file(path).with_context(|| format!("cannot read '{}'", path.display()))?;
            self.fact(&format!("file {name} {runs}"), &content);
        }
        Ok(())
    }

    /// The key: 64 hex digits.
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Bytes as people write hashes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The hash of a file's content.
fn hash_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(facts: &[(&str, &str)]) -> String {
        let mut key = Key::new("test", 1);
        for (name, value) in facts {
            key.fact(name, value.as_bytes());
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
            let mut key = Key::new("test", 1);
            key.tree(dir.path(), takes).unwrap();
            key.finish()
        };
        let all = |_: &Path| true;
        fs::write(dir.path().join("a"), "1").unwrap();
        let first = of(&all);
        assert_eq!(first, of(&all));
        fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        let second = of(&all);
        assert_ne!(first, second);
        fs::write(dir.path().join("b.py"), "1").unwrap();
        assert_ne!(second, of(&all));
        assert_eq!(second, of(&|path: &Path| !path.ends_with("b.py")));
    }
}
