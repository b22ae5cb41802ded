//! Layers that become part of the app tree. A build may change them, so it works on a copy; files that it did
//! not change are linked to the layer's files when the tree becomes read-only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use piku_files::{FolderCursor, TreeError, TreeHandle, WalkStep};

use crate::errors::layers::swapped;
use crate::plan::build_plan::TreeLayer;
use crate::tree::copy;
use crate::tree::hard_link;

/// Writes the files that its steps read into a new layer.
pub(crate) fn write_inputs(content: &TreeHandle, files: &BTreeMap<PathBuf, Vec<u8>>) -> anyhow::Result<()> {
    for (path, text) in files {
        if let Some(folder) = path.parent() {
            content.create_dir_all(folder)?;
        }
        content.write(path, text, 0o644)?;
    }
    Ok(())
}

/// Checks what the steps left in the directory `content` of `layers`, and refuses a layer whose directory was
/// replaced. If the layer is mounted, only that directory stays.
pub(crate) fn check_steps(unfinished: &TreeHandle, content: &str, layer: &TreeLayer) -> anyhow::Result<()> {
    let made = unfinished.subtree(content)?.find(layer.folder)?;
    if let Some(stat) = made.filter(|stat| !stat.is_dir()) {
        return Err(swapped(layer.name, layer.folder, stat.kind).into());
    }
    if layer.mount.is_none() {
        return Ok(());
    }
    unfinished.rename(content, unfinished, MADE)?;
    if made.is_some() {
        unfinished.rename(Path::new(MADE).join(layer.folder), unfinished, content)?;
    } else {
        // If the app needs nothing of it on this machine, the layer still has an empty directory.
        unfinished.create_dir(content)?;
        unfinished.subtree(content)?.write(".none", "", 0o644)?;
    }
    Ok(unfinished.remove_all(MADE)?)
}

/// Name of the steps' output while one of its directories becomes the layer.
const MADE: &str = "made";

/// Copies a finished layer into the tree, replacing what is there, or creates its mount point.
pub(crate) fn add_to_tree(content: &TreeHandle, tree: &TreeHandle, layer: &TreeLayer) -> anyhow::Result<()> {
    if layer.mount.is_some() {
        tree.remove_all(layer.folder)?;
        return Ok(tree.create_dir(layer.folder)?);
    }
    let limit = copy::limit_of_disk(tree)?;
    for folder in folders(content, layer.folder)? {
        // A path that leads through a link or through directories outside of the repository is refused.
        if !is_itself(tree, folder.parent().unwrap_or(Path::new("")))? {
            continue;
        }
        tree.remove_all(&folder)?;
        content.subtree(&folder)?.copy_tree(tree, &folder, limit, |_| Ok::<_, TreeError>(true))?;
    }
    Ok(())
}

/// Links files of a read-only tree that are equal to those of the layer.
pub(crate) fn link_files(content: &TreeHandle, tree: &TreeHandle, layer: &TreeLayer) -> anyhow::Result<()> {
    if layer.mount.is_some() {
        return Ok(());
    }
    for folder in folders(content, layer.folder)? {
        // The build may have replaced it.
        if is_itself(tree, &folder)? {
            hard_link::share_files(&content.subtree(&folder)?, &tree.subtree(&folder)?)?;
        }
    }
    Ok(())
}

/// Returns whether a path below the tree is a folder and leads over no link.
fn is_itself(tree: &TreeHandle, below: &Path) -> Result<bool, TreeError> {
    if below.as_os_str().is_empty() {
        return Ok(true);
    }
    Ok(FolderCursor::new(tree).symlink_metadata(below)?.is_some_and(|stat| stat.is_dir()))
}

/// Returns the directories of this name that are not inside another one, sorted.
fn folders(content: &TreeHandle, name: &str) -> Result<Vec<PathBuf>, TreeError> {
    let mut found = Vec::new();
    content.walk(|entry| {
        if entry.stat().is_dir() && entry.name() == name {
            found.push(entry.path().to_owned());
            return Ok::<_, TreeError>(WalkStep::Over);
        }
        Ok(WalkStep::Into)
    })?;
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_files::FileKind;

    /// Returns a folder with `content` and `tree` in it, and a victim beside them.
    fn scene(files: &[&str]) -> (tempfile::TempDir, TreeHandle, TreeHandle, TreeHandle) {
        let dir = tempfile::tempdir().unwrap();
        let top = TreeHandle::open(dir.path()).unwrap();
        for path in files {
            top.create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            top.write(path, path, 0o644).unwrap();
        }
        top.create_dir_all("tree").unwrap();
        let [content, tree] = ["content", "tree"].map(|name| top.subtree(name).unwrap());
        (dir, top, content, tree)
    }

    fn layer() -> TreeLayer {
        TreeLayer {
            name: "node_modules",
            key: String::new(),
            files: BTreeMap::new(),
            steps: Vec::new(),
            need: piku_files::free_space::SpaceNeeded::default(),
            folder: "node_modules",
            mount: None,
        }
    }

    #[test]
    fn packages_are_copied_and_what_stays_as_it_was_is_shared() {
        let [package, program] = ["node_modules/a/node_modules/b/x.js", "node_modules/.bin/y"];
        let files = [package, program, "sub/node_modules/c/x.js"].map(|path| format!("content/{path}"));
        let (_dir, top, content, tree) = scene(&files.each_ref().map(String::as_str));
        content.symlink("../a/x.js", "node_modules/.bin/a").unwrap();
        tree.create_dir_all("node_modules/committed").unwrap();
        let layer = layer();
        check_steps(&top, "content", &layer).unwrap();
        add_to_tree(&content, &tree, &layer).unwrap();
        let one = |path: &str| content.metadata(path).unwrap().is_same(&tree.metadata(path).unwrap());
        assert!(!one(package) && !one(program));
        assert!(!tree.is_dir("node_modules/committed"));
        assert!(!tree.is_dir("sub"), "the app has no such folder");
        tree.write(program, "patched", 0o644).unwrap();
        link_files(&content, &tree, &layer).unwrap();
        assert!(one(package) && !one(program));
        assert_eq!(content.read_text(program, 100).unwrap(), files[1]);

        // What a build has put in its place is not followed.
        add_to_tree(&content, &tree, &layer).unwrap();
        tree.rename("node_modules", &top, "elsewhere").unwrap();
        tree.symlink("../elsewhere", "node_modules").unwrap();
        link_files(&content, &tree, &layer).unwrap();
        let copied = Path::new("elsewhere").join(Path::new(package).strip_prefix("node_modules").unwrap());
        assert!(!top.metadata(copied).unwrap().is_same(&content.metadata(package).unwrap()));
        tree.remove_file("node_modules").unwrap();
        link_files(&content, &tree, &layer).unwrap();

        let shown = TreeLayer { mount: Some("/app/node_modules".into()), ..layer };
        check_steps(&top, "content", &shown).unwrap();
        let content = top.subtree("content").unwrap();
        assert!(content.is_file("a/node_modules/b/x.js") && !content.is_dir("sub"));
        add_to_tree(&content, &tree, &shown).unwrap();
        assert!(tree.subtree("node_modules").unwrap().is_empty().unwrap());
    }

    #[test]
    fn a_folder_that_was_swapped_is_refused() {
        for mount in [None, Some(PathBuf::from("/app/node_modules"))] {
            for kind in [FileKind::Link, FileKind::Regular, FileKind::Pipe] {
                let (dir, top, content, _) = scene(&["content/package.json", "victim/key"]);
                match kind {
                    FileKind::Link => content.symlink("../victim", "node_modules").unwrap(),
                    FileKind::Regular => content.write("node_modules", "", 0o644).unwrap(),
                    _ => {
                        let path = dir.path().join("content/node_modules");
                        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
                    }
                }
                let layer = TreeLayer { mount: mount.clone(), ..layer() };
                let refusal = check_steps(&top, "content", &layer).unwrap_err().to_string();
                let expected = format!("left {} in place of the folder 'node_modules'", kind.name());
                assert!(refusal.contains(&expected), "{refusal}");
                assert_eq!(top.read_text("victim/key", 100).unwrap(), "victim/key");
            }
        }
    }

    #[test]
    fn links_of_a_tree_are_no_way_out_of_it() {
        let (_dir, top, content, tree) =
            scene(&["content/sub/node_modules/x", "content/node_modules/y", "victim/node_modules/x"]);
        // The app's own folder for packages is a link to another directory.
        tree.symlink("../victim", "sub").unwrap();
        tree.symlink("../victim/node_modules", "node_modules").unwrap();
        add_to_tree(&content, &tree, &layer()).unwrap();
        assert!(tree.is_file("node_modules/y"));
        link_files(&content, &tree, &layer()).unwrap();
        assert_eq!(top.read_text("victim/node_modules/x", 100).unwrap(), "victim/node_modules/x");
        assert_eq!(top.read_dir("victim/node_modules").unwrap().len(), 1);
    }
}
