//! The sources of installed packages that are not compiled yet, in groups that are compiled together. A group belongs to
//! one package.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::bail;
use piku_files::{FileKind, FolderCursor, FolderEntry, TreeError, TreeHandle};

/// Folder of compiled files, beside their sources.
pub(super) const CACHE: &str = "__pycache__";
/// Folders that the compiling step of the layer is left to decide about: it compiles tests if their package imports them.
const LEFT: [&str; 3] = [CACHE, "tests", "testing"];
/// Bytes of sources below which a package is left to the step: a jail takes as long as their compilation.
const SMALLEST_PACKAGE: u64 = 96 << 10;
/// Bytes of sources of a larger package that are compiled together, so that each processor has some.
const GROUP_SIZE: u64 = 1 << 20;
/// The longest source, in bytes.
const LONGEST_SOURCE: u64 = 4 << 20;
/// Number of sources from which on the rest is left to the step.
const MAX_SOURCES: usize = 100_000;
/// Maximum depth of folders.
const MAX_DEPTH: usize = 32;

/// Sources of one package that are compiled together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceGroup {
    /// Paths below the folder of the packages.
    pub(super) files: Vec<PathBuf>,
    /// Sum of their lengths.
    pub(super) bytes: u64,
}

/// A source with the facts that its compiled form has to name.
pub(super) struct PackageSource {
    /// Path below the folder of the packages, which is UTF-8.
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
    pub(super) modified: SystemTime,
    pub(super) mode: u32,
}

/// Finds the sources without a compiled file, whose name ends with `ending`. Returns the groups by their sizes, the largest
/// last.
pub(super) fn find_groups(packages: &TreeHandle, ending: &str) -> Vec<SourceGroup> {
    let mut search = SourceSearch { ending, found: Vec::new(), count: 0, groups: Vec::new() };
    // What cannot be read is left to the step.
    let _ = search.add_packages(packages);
    search.groups.sort_by_key(|group| group.bytes);
    search.groups
}

impl SourceGroup {
    /// Reads the sources.
    ///
    /// # Errors
    /// Fails if one of them is no regular file, is too long, or is reached by a link.
    pub(super) fn read(&self, packages: &TreeHandle) -> anyhow::Result<Vec<PackageSource>> {
        let mut cursor = FolderCursor::new(packages);
        let mut sources = Vec::with_capacity(self.files.len());
        for path in &self.files {
            let Some(mut file) = cursor.open_file(path)? else { bail!("'{}' is gone", path.display()) };
            let content = file.read_bounded(LONGEST_SOURCE)?;
            let (modified, mode) = (file.stat.modified, file.stat.mode);
            sources.push(PackageSource { path: path.clone(), content, modified, mode });
        }
        Ok(sources)
    }
}

struct SourceSearch<'a> {
    ending: &'a str,
    /// Sources of the present package, with their lengths.
    found: Vec<(PathBuf, u64)>,
    /// Number of sources of all packages.
    count: usize,
    groups: Vec<SourceGroup>,
}

impl SourceSearch<'_> {
    /// Adds all packages: folders, and modules of a single file.
    fn add_packages(&mut self, packages: &TreeHandle) -> Result<(), TreeError> {
        let compiled = list_compiled(packages);
        for entry in packages.read_dir("")? {
            let _ = self.add_entry(packages, Path::new(""), entry, &compiled, MAX_DEPTH);
            self.close_package();
        }
        Ok(())
    }

    fn add_folder(&mut self, folder: &TreeHandle, path: &Path, depth: usize) -> Result<(), TreeError> {
        let compiled = list_compiled(folder);
        for entry in folder.read_dir("")? {
            // One that cannot be read hides only itself.
            let _ = self.add_entry(folder, path, entry, &compiled, depth);
        }
        Ok(())
    }

    fn add_entry(
        &mut self,
        folder: &TreeHandle,
        path: &Path,
        FolderEntry { name, kind }: FolderEntry,
        compiled: &BTreeSet<OsString>,
        depth: usize,
    ) -> Result<(), TreeError> {
        let Some(name) = name.to_str() else { return Ok(()) };
        if kind == FileKind::Folder && depth > 0 && !LEFT.contains(&name) {
            return self.add_folder(&folder.subtree(name)?, &path.join(name), depth - 1);
        }
        let Some(stem) = name.strip_suffix(".py").filter(|_| kind == FileKind::Regular) else {
            return Ok(());
        };
        let file = OsString::from(format!("{stem}{}", self.ending));
        if compiled.contains(&file) || self.count >= MAX_SOURCES {
            return Ok(());
        }
        let len = folder.symlink_metadata(name)?.len;
        if len <= LONGEST_SOURCE {
            self.found.push((path.join(name), len));
            self.count += 1;
        }
        Ok(())
    }

    /// Makes groups of about the same size of the sources that were found since the last call.
    fn close_package(&mut self) {
        let found = std::mem::take(&mut self.found);
        let total: u64 = found.iter().map(|(_, len)| len).sum();
        if total < SMALLEST_PACKAGE {
            return;
        }
        let share = total.div_ceil(total.div_ceil(GROUP_SIZE));
        let mut group = SourceGroup { files: Vec::new(), bytes: 0 };
        for (path, len) in found {
            group.files.push(path);
            group.bytes += len;
            if group.bytes >= share {
                let next = SourceGroup { files: Vec::new(), bytes: 0 };
                self.groups.push(std::mem::replace(&mut group, next));
            }
        }
        if group.bytes > 0 {
            self.groups.push(group);
        }
    }
}

/// Returns the names of the compiled files beside the sources in a folder.
fn list_compiled(folder: &TreeHandle) -> BTreeSet<OsString> {
    let entries = folder.subtree(CACHE).and_then(|cache| cache.read_dir(""));
    entries.unwrap_or_default().into_iter().map(|entry| entry.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const ENDING: &str = ".cpython-311.pyc";

    fn write(dir: &Path, name: &str, len: usize) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'#'; len]).unwrap();
    }

    fn files(groups: &[SourceGroup]) -> Vec<&str> {
        groups.iter().flat_map(|group| &group.files).map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn a_group_is_of_one_package_and_small_packages_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        for name in ["one/__init__.py", "one/deep/a.py", "two.py", "three/a.py"] {
            write(at, name, 100 << 10);
        }
        for name in
            ["small/__init__.py", "small.py", "one/tests/a.py", "one/testing/a.py", "one/__pycache__/a.py"]
        {
            write(at, name, 50 << 10);
        }
        write(at, "tests/a.py", 100 << 10);
        write(at, "one-1.0.dist-info/RECORD", 100 << 10);
        write(at, &format!("three/__pycache__/a{ENDING}"), 1);
        let tree = TreeHandle::open(at).unwrap();
        let groups = find_groups(&tree, ENDING);
        assert_eq!(files(&groups), ["two.py", "one/__init__.py", "one/deep/a.py"]);
        assert_eq!(groups.len(), 2);
        // The compiled files of another Python do not count.
        let groups = find_groups(&tree, ".cpython-312.pyc");
        assert!(files(&groups).contains(&"three/a.py"), "{groups:?}");
    }

    #[test]
    fn a_large_package_has_several_groups_of_about_the_same_size() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..50 {
            write(dir.path(), &format!("large/m{number:02}.py"), 100 << 10);
        }
        let groups = find_groups(&TreeHandle::open(dir.path()).unwrap(), ENDING);
        let sizes: Vec<_> = groups.iter().map(|group| group.bytes >> 10).collect();
        assert_eq!(sizes, [1000; 5]);
        let mut all = files(&groups);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 50);
    }

    #[test]
    fn only_regular_files_of_the_packages_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (at, outside) = (dir.path().join("packages"), dir.path().join("outside"));
        write(&outside, "secret.py", 200 << 10);
        write(&at, "p/good.py", 200 << 10);
        write(&at, "p/long.py", (4 << 20) + 1);
        symlink(outside.join("secret.py"), at.join("p/link.py")).unwrap();
        symlink(&outside, at.join("linked")).unwrap();
        symlink("p", at.join("within")).unwrap();
        nix::unistd::mkfifo(&at.join("p/pipe.py"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(at.join("p/folder.py")).unwrap();
        let mut deep = at.join("q");
        for _ in 0..60 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("m.py"), vec![b'#'; 200 << 10]).unwrap();
        let tree = TreeHandle::open(&at).unwrap();
        let groups = find_groups(&tree, ENDING);
        assert_eq!(files(&groups), ["p/good.py"]);

        // Between the search and the read, the package replaces its files.
        let read = || groups[0].read(&tree).map(|sources| sources.len());
        assert_eq!(read().unwrap(), 1);
        fs::remove_file(at.join("p/good.py")).unwrap();
        symlink(outside.join("secret.py"), at.join("p/good.py")).unwrap();
        assert!(read().is_err());
        fs::remove_file(at.join("p/good.py")).unwrap();
        nix::unistd::mkfifo(&at.join("p/good.py"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read().is_err());
        fs::remove_file(at.join("p/good.py")).unwrap();
        fs::rename(at.join("p/long.py"), at.join("p/good.py")).unwrap();
        assert!(read().is_err());
        fs::rename(at.join("p"), at.join("away")).unwrap();
        symlink("../outside", at.join("p")).unwrap();
        fs::rename(outside.join("secret.py"), outside.join("good.py")).unwrap();
        assert!(read().is_err());
    }
}
