//! Layers that become part of the app's tree. A build may write to all of it, and works on a copy; a file that it has left as it
//! was becomes one with the layer's when nobody can write to it any more.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_procfile::remove;

use crate::copy::{self, Leave};
use crate::plan::TreeLayer;
use crate::share;
use crate::source::tidy;

/// Puts what its steps read into a layer that is to be made.
pub(crate) fn seed(content: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> anyhow::Result<()> {
    for (path, text) in files {
        let path = content.join(path);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    Ok(())
}

/// Of a layer that is shown, not taken in, only that folder stays.
pub(crate) fn settle(content: &Path, layer: &TreeLayer) -> anyhow::Result<()> {
    if layer.mount.is_none() {
        return Ok(());
    }
    keep_only(content, layer.folder)
        .with_context(|| format!("cannot put '{}' into its place", content.display()))
}

/// The folder `name` in `content` becomes `content`.
fn keep_only(content: &Path, name: &str) -> io::Result<()> {
    let made = content.with_file_name("made");
    fs::rename(content, &made)?;
    match fs::rename(made.join(name), content) {
        // What the app names is not for this machine; a layer is never empty.
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            fs::create_dir(content)?;
            fs::write(content.join(".none"), "")?;
        }
        done => done?,
    }
    remove::all(&made)
}

/// Takes a finished layer into the tree, in the place of what the tree has there, or makes the place where it is shown.
pub(crate) fn take_in(content: &Path, tree: &Path, layer: &TreeLayer) -> anyhow::Result<()> {
    if layer.mount.is_some() {
        let place = tree.join(layer.folder);
        return remove::all(&place)
            .and_then(|()| fs::create_dir(&place))
            .with_context(|| format!("cannot make '{}'", place.display()));
    }
    for folder in folders(content, layer.folder)? {
        let (from, to) = (content.join(&folder), tree.join(&folder));
        // A folder of the app that was not in the repository, or is a link in it, is no place for packages.
        if !is_itself(tree, folder.parent().unwrap_or(Path::new(""))) {
            continue;
        }
        remove::all(&to).with_context(|| format!("cannot remove '{}'", to.display()))?;
        copy::walk(&from, &Leave::new([]), &mut |path, meta| {
            let below = path.strip_prefix(&from).unwrap_or(path);
            let target = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
            let cannot = || format!("cannot take '{}' into the release", below.display());
            if meta.is_dir() {
                fs::create_dir(&target).with_context(cannot)
            } else if meta.is_symlink() {
                fs::read_link(path).and_then(|link| symlink(link, &target)).with_context(cannot)
            } else if meta.is_file() {
                fs::copy(path, &target).map(drop).with_context(cannot)
            } else {
                Ok(())
            }
        })?;
    }
    Ok(())
}

/// Makes the files that are the same in the layer and in a tree that nobody writes to any more one.
pub(crate) fn share(content: &Path, tree: &Path, layer: &TreeLayer) -> anyhow::Result<()> {
    if layer.mount.is_some() {
        return Ok(());
    }
    for folder in folders(content, layer.folder)? {
        // The build may have put anything in its place.
        if is_itself(tree, &folder) && tree.join(&folder).is_dir() {
            share::with(&content.join(&folder), &tree.join(&folder))?;
        }
    }
    Ok(())
}

/// Whether a path below the tree is there, and leads over no link.
fn is_itself(tree: &Path, below: &Path) -> bool {
    let place = |path: &Path| fs::canonicalize(path).ok();
    place(&tree.join(below)).is_some_and(|real| place(tree).map(|top| tidy(&top.join(below))) == Some(real))
}

/// The folders of this name that lie in no other one of it.
fn folders(content: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    fn collect(top: &Path, below: &Path, name: &str, found: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(top.join(below))? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let path = below.join(entry.file_name());
            if entry.file_name() == name {
                found.push(path);
            } else {
                collect(top, &path, name, found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    collect(content, Path::new(""), name, &mut found)
        .with_context(|| format!("cannot read '{}'", content.display()))?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn packages_are_copied_and_what_stays_as_it_was_is_shared() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let (content, tree) = (top.join("content"), top.join("tree"));
        for path in ["node_modules/a/node_modules/b/x.js", "node_modules/.bin/y", "sub/node_modules/c/x.js"] {
            fs::create_dir_all(content.join(path).parent().unwrap()).unwrap();
            fs::write(content.join(path), path).unwrap();
        }
        symlink("../a/x.js", content.join("node_modules/.bin/a")).unwrap();
        fs::create_dir_all(tree.join("node_modules/committed")).unwrap();
        let layer = TreeLayer {
            name: "node_modules",
            key: String::new(),
            files: BTreeMap::new(),
            steps: Vec::new(),
            need: crate::disk::Need::default(),
            folder: "node_modules",
            mount: None,
        };
        settle(&content, &layer).unwrap();
        take_in(&content, &tree, &layer).unwrap();
        let one = |path: &str| {
            let number = |top: &Path| fs::metadata(top.join(path)).unwrap().ino();
            number(&content) == number(&tree)
        };
        let [package, program] = ["node_modules/a/node_modules/b/x.js", "node_modules/.bin/y"];
        assert!(!one(package) && !one(program));
        assert!(!tree.join("node_modules/committed").exists());
        assert!(!tree.join("sub").exists(), "the app has no such folder");
        fs::write(tree.join(program), "patched").unwrap();
        share(&content, &tree, &layer).unwrap();
        assert!(one(package) && !one(program));
        assert_eq!(fs::read_to_string(content.join(program)).unwrap(), program);

        // What a build has put in its place is not followed.
        let elsewhere = top.join("elsewhere");
        take_in(&content, &tree, &layer).unwrap();
        fs::rename(tree.join("node_modules"), &elsewhere).unwrap();
        symlink(&elsewhere, tree.join("node_modules")).unwrap();
        share(&content, &tree, &layer).unwrap();
        assert!(!one(package));
        fs::remove_file(tree.join("node_modules")).unwrap();
        share(&content, &tree, &layer).unwrap();

        let shown = TreeLayer { mount: Some("/app/node_modules".into()), ..layer };
        settle(&content, &shown).unwrap();
        assert!(content.join("a/node_modules/b/x.js").exists() && !content.join("sub").exists());
        take_in(&content, &tree, &shown).unwrap();
        assert_eq!(fs::read_dir(tree.join("node_modules")).unwrap().count(), 0);
    }
}
