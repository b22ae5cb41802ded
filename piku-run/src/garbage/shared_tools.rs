//! Garbage among the tools that builds of all apps share: those that no build has used for a long time, and unfinished
//! ones. A build holds a lock on the tools that it uses.

use anyhow::Context;
use piku_layout::paths::PikuRoot;
use piku_release::layers;

use super::disk_usage::FreedSpace;
use super::{GarbageItem, GarbageKind, TOOL_LIFETIME, remove_layer};

/// Finds the garbage without counting its bytes.
pub(crate) fn find(root: &PikuRoot) -> anyhow::Result<Vec<GarbageItem>> {
    let unused = layers::list_unused_for(&root.tools(), TOOL_LIFETIME).context("cannot list the tools")?;
    let item = |path: std::path::PathBuf| {
        let name = path.strip_prefix(root.path()).unwrap_or(&path).to_owned();
        GarbageItem { app: None, kind: GarbageKind::Tool, name, bytes: 0 }
    };
    Ok(unused.into_iter().map(item).collect())
}

/// Sets the bytes that the removal of each item frees.
pub(crate) fn measure(root: &PikuRoot, found: &mut [GarbageItem]) {
    let mut freed = FreedSpace::default();
    for item in found {
        item.bytes = freed.add_tree(&root.path().join(&item.name));
    }
}

/// Removes an item; returns false if a build has begun to use it.
pub(crate) fn remove(root: &PikuRoot, item: &GarbageItem) -> anyhow::Result<bool> {
    remove_layer(&root.path().join(&item.name))
}

/// Removes the garbage; returns the errors of single items.
pub(super) fn collect(root: &PikuRoot) -> anyhow::Result<Vec<String>> {
    let failed = find(root)?.into_iter().filter_map(|item| remove(root, &item).err());
    Ok(failed.map(|err| format!("{err:#}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    use piku_files::FileLock;

    #[test]
    fn what_no_build_uses_any_more_goes() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        assert!(find(&root).unwrap().is_empty());
        for (name, days) in [("old", Some(90)), ("used", Some(90)), ("new", Some(30)), ("half", None)] {
            let tool = root.tools().join(name);
            fs::create_dir_all(tool.join("content")).unwrap();
            if let Some(days) = days {
                let date = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(days * 24);
                File::create(tool.join("complete")).unwrap().set_modified(date.into()).unwrap();
            }
        }
        let names = |found: Vec<GarbageItem>| -> Vec<String> {
            found.into_iter().map(|item| format!("{} {}", item.kind.as_str(), item.name.display())).collect()
        };
        let all = ["tool tools/half", "tool tools/old", "tool tools/used"];
        assert_eq!(names(find(&root).unwrap()), all);
        // A build that has found the tool holds this lock until it ends.
        let folder = layers::open_layer(&root.tools().join("used")).unwrap().unwrap();
        let lock = FileLock::try_shared(folder).unwrap().unwrap();
        assert_eq!(collect(&root).unwrap(), [""; 0]);
        assert_eq!(names(find(&root).unwrap()), ["tool tools/used"]);
        assert!(root.tools().join("used/complete").exists() && root.tools().join("new/complete").exists());
        lock.unlock().unwrap();
        assert_eq!(collect(&root).unwrap(), [""; 0]);
        assert!(find(&root).unwrap().is_empty() && !root.tools().join("used").exists());
    }
}
