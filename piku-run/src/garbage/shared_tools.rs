//! Garbage among the tools that builds of all apps share: those that no build has used for a long time, and unfinished
//! ones. A build holds a lock on the tools that it uses, but for compiled packages, which it reads in one go.

#![expect(clippy::disallowed_methods, reason = "the store's own files, which no step sees")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_layout::paths::PikuRoot;
use piku_release::layers::{self, COMPILED};

use super::disk_usage::FreedSpace;
use super::{GarbageItem, GarbageKind, TOOL_LIFETIME, remove_layer};

/// Finds the garbage without counting its bytes. All compiled packages that no build uses are one item. Also returns why a
/// store cannot be read.
pub(crate) fn find(root: &PikuRoot) -> (Vec<GarbageItem>, Vec<String>) {
    let (tools, compiled) = (root.tools(), root.tools().join(COMPILED));
    let mut errors = Vec::new();
    let mut unused = match layers::list_unused_for(&tools, TOOL_LIFETIME) {
        Ok(unused) => unused,
        Err(err) => {
            errors.push(format!("cannot list '{}': {err}", tools.display()));
            return (Vec::new(), errors);
        }
    };
    unused.retain(|path| !is_compiled_store(path));
    match list_unused_packages(&compiled) {
        Ok(packages) if packages.is_empty() => {}
        Ok(_) => unused.push(compiled),
        Err(err) => errors.push(format!("{err:#}")),
    }
    let item = |path: PathBuf| {
        let name = path.strip_prefix(root.path()).unwrap_or(&path).to_owned();
        GarbageItem { app: None, kind: GarbageKind::Tool, name, bytes: 0 }
    };
    (unused.into_iter().map(item).collect(), errors)
}

/// Sets the bytes that the removal of each item frees.
pub(crate) fn measure(root: &PikuRoot, found: &mut [GarbageItem]) {
    let mut freed = FreedSpace::default();
    for item in found {
        let path = root.path().join(&item.name);
        item.bytes = if is_compiled_store(&path) {
            let files = list_unused_packages(&path).unwrap_or_default();
            files.iter().map(|file| freed.add_tree(file)).sum()
        } else {
            freed.add_tree(&path)
        };
    }
}

/// Removes an item; returns false if a build has begun to use it.
pub(crate) fn remove(root: &PikuRoot, item: &GarbageItem) -> anyhow::Result<bool> {
    let path = root.path().join(&item.name);
    if !is_compiled_store(&path) {
        return remove_layer(&path);
    }
    for file in list_unused_packages(&path)? {
        match fs::remove_file(&file) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            done => done.with_context(|| format!("cannot remove '{}'", file.display()))?,
        }
    }
    Ok(true)
}

/// Removes the garbage; returns the errors of single items.
pub(super) fn collect(root: &PikuRoot) -> Vec<String> {
    let (found, mut errors) = find(root);
    let failed = found.into_iter().filter_map(|item| remove(root, &item).err());
    errors.extend(failed.map(|err| format!("{err:#}")));
    errors
}

fn is_compiled_store(path: &Path) -> bool {
    path.ends_with(COMPILED)
}

/// Lists the compiled packages that no build has used for a long time.
fn list_unused_packages(store: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unused = layers::list_unused_files_for(store, TOOL_LIFETIME);
    unused.with_context(|| format!("cannot list '{}'", store.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    use piku_files::FileLock;

    fn names(found: Vec<GarbageItem>) -> Vec<String> {
        found.into_iter().map(|item| format!("{} {}", item.kind.as_str(), item.name.display())).collect()
    }

    #[test]
    fn compiled_packages_that_no_build_uses_any_more_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let store = root.tools().join(COMPILED);
        fs::create_dir_all(&store).unwrap();
        assert!(find(&root).0.is_empty());
        for (name, days) in [("a", 90), ("b", 30), ("c", 90), (".d.17", 90)] {
            let date = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(days * 24);
            fs::write(store.join(name), [1; 5000]).unwrap();
            File::open(store.join(name)).unwrap().set_modified(date.into()).unwrap();
        }
        let mut found = find(&root).0;
        measure(&root, &mut found);
        assert!(found[0].bytes >= 15_000);
        assert_eq!(names(found), ["tool tools/compiled"]);
        assert_eq!(collect(&root), [""; 0]);
        assert!(find(&root).0.is_empty());
        let left: Vec<_> = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["b"]);
    }

    #[test]
    fn what_is_no_store_is_told_and_left_alone() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let (store, elsewhere) = (root.tools().join(COMPILED), dir.path().join("elsewhere"));
        fs::create_dir_all(root.tools().join("half/content")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(90 * 24);
        File::create(elsewhere.join("old")).unwrap().set_modified(old.into()).unwrap();
        let obstacles: [&dyn Fn(); 3] =
            [&|| fs::write(&store, "").unwrap(), &|| symlink(&elsewhere, &store).unwrap(), &|| {
                let made = piku_tests::processes::shell("mkfifo \"$0\"").arg(&store).status();
                assert!(made.unwrap().success());
            }];
        for place in obstacles {
            place();
            let (found, errors) = find(&root);
            assert_eq!(names(found), ["tool tools/half"]);
            assert_eq!(errors, [format!("cannot list '{}': not a directory", store.display())]);
            fs::remove_file(&store).unwrap();
        }
        assert!(elsewhere.join("old").exists());
        fs::remove_dir_all(root.tools()).unwrap();
        fs::write(root.tools(), "").unwrap();
        assert_eq!(collect(&root).len(), 1);
    }

    #[test]
    fn what_no_build_uses_any_more_goes() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        assert!(find(&root).0.is_empty());
        for (name, days) in [("old", Some(90)), ("used", Some(90)), ("new", Some(30)), ("half", None)] {
            let tool = root.tools().join(name);
            fs::create_dir_all(tool.join("content")).unwrap();
            if let Some(days) = days {
                let date = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(days * 24);
                File::create(tool.join("complete")).unwrap().set_modified(date.into()).unwrap();
            }
        }
        let all = ["tool tools/half", "tool tools/old", "tool tools/used"];
        assert_eq!(names(find(&root).0), all);
        // A build that has found the tool holds this lock until it ends.
        let folder = layers::open_layer(&root.tools().join("used")).unwrap().unwrap();
        let lock = FileLock::try_shared(folder).unwrap().unwrap();
        assert_eq!(collect(&root), [""; 0]);
        assert_eq!(names(find(&root).0), ["tool tools/used"]);
        assert!(root.tools().join("used/complete").exists() && root.tools().join("new/complete").exists());
        lock.unlock().unwrap();
        assert_eq!(collect(&root), [""; 0]);
        assert!(find(&root).0.is_empty() && !root.tools().join("used").exists());
    }
}
