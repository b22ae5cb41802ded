//! What two trees of files differ in. Times do not count, nor does bytecode, in which Python keeps the times of its sources,
//! nor the list in which Rails' Sprockets keeps those of assets, each of which has its content's hash in its name.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A file above this size is no text with a path in it.
const TEXT: u64 = 1 << 20;

/// Two trees; where one says `names.0` the other may say `names.1`: without a jail a layer knows its own place by its key.
pub(crate) struct Trees<'a> {
    /// The one.
    pub(crate) old: &'a Path,
    /// The other.
    pub(crate) new: &'a Path,
    /// A word of the one, and what stands for it in the other.
    pub(crate) names: (&'a str, &'a str),
}

impl Trees<'_> {
    /// The paths that are in one of them only, or not the same in both; in order.
    pub(crate) fn differ_in(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        self.compare(Path::new(""), &mut found)?;
        Ok(found)
    }

    fn compare(&self, below: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
        let (old, new) = (join(self.old, below), join(self.new, below));
        let about = |path: &Path| {
            fs::symlink_metadata(path).with_context(|| format!("cannot look at '{}'", path.display()))
        };
        let (left, right) = (about(&old)?, about(&new)?);
        if left.is_dir() && right.is_dir() {
            let (left, right) = (names(&old)?, names(&new)?);
            for name in left.union(&right) {
                let below = below.join(name);
                if left.contains(name) && right.contains(name) {
                    self.compare(&below, found)?;
                } else {
                    found.push(below);
                }
            }
            return Ok(());
        }
        let cannot = || format!("cannot compare '{}' with '{}'", old.display(), new.display());
        if !self.alike((&old, &left), (&new, &right)).with_context(cannot)? {
            found.push(below.to_owned());
        }
        Ok(())
    }

    fn alike(&self, (old, left): (&Path, &Metadata), (new, right): (&Path, &Metadata)) -> io::Result<bool> {
        if left.file_type() != right.file_type() {
            return Ok(false);
        }
        if left.is_symlink() {
            let target = |path| fs::read_link(path).map(|to| to.to_string_lossy().into_owned());
            return Ok(target(old)?.replace(self.names.0, self.names.1) == target(new)?);
        }
        // A pipe, a socket or a device has no content, and whoever opens a pipe waits for somebody at its other end.
        if !left.is_file() {
            return Ok(true);
        }
        let runs = |about: &Metadata| about.permissions().mode() & 0o111;
        if runs(left) != runs(right) {
            return Ok(false);
        }
        if left.len() == right.len() && same_content(old, new)? {
            return Ok(true);
        }
        if left.len().max(right.len()) > TEXT || self.names.0 == self.names.1 {
            return Ok(false);
        }
        let (left, right) = (fs::read(old)?, fs::read(new)?);
        Ok(String::from_utf8_lossy(&left).replace(self.names.0, self.names.1)
            == String::from_utf8_lossy(&right))
    }
}

/// Whether two files of the same length hold the same.
pub(crate) fn same_content(left: &Path, right: &Path) -> io::Result<bool> {
    use std::io::Read;
    let (mut left, mut right) = (fs::File::open(left)?, fs::File::open(right)?);
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

/// Joins without a slash at the end, which would ask for a folder.
fn join(dir: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { dir.to_owned() } else { dir.join(below) }
}

/// Whether what has this name holds the times of other files.
fn keeps_times(name: &[u8]) -> bool {
    name == b"__pycache__" || name.ends_with(b".pyc") || name.starts_with(b".sprockets-manifest-")
}

fn names(dir: &Path) -> anyhow::Result<BTreeSet<OsString>> {
    let cannot = || format!("cannot read '{}'", dir.display());
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name();
        if !keeps_times(name.as_encoded_bytes()) {
            names.insert(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(top: &Path, files: &[(&str, &str)]) -> PathBuf {
        for (name, text) in files {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        top.to_owned()
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
        let differ = |new: &Path, names| Trees { old: &old, new, names }.differ_in().unwrap();

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
            nix::unistd::mkfifo(&top.join("pipe"), Mode::S_IRWXU).unwrap();
        }
        let trees = Trees { old: &old, new: &new, names: ("", "") };
        assert!(trees.differ_in().unwrap().is_empty());
        fs::remove_file(new.join("pipe")).unwrap();
        fs::write(new.join("pipe"), "").unwrap();
        assert_eq!(trees.differ_in().unwrap(), [PathBuf::from("pipe")]);
    }
}
