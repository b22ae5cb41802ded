//! Layers that become part of the app's tree. Where there is a jail a file of such a layer is one file with all releases that have
//! it: nobody may write to it, and who replaces it has a file of his own.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::copy::{self, Leave};
use crate::plan::TreeLayer;
use crate::source::tidy;
use piku_procfile::remove;

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

/// Takes the right to write away from all files that are shared. Of a layer that is shown, not taken in, only that folder stays.
pub(crate) fn close(content: &Path, layer: &TreeLayer) -> anyhow::Result<()> {
    if layer.mount.is_some() {
        return keep_only(content, layer.folder)
            .with_context(|| format!("cannot put '{}' into its place", content.display()));
    }
    for folder in folders(content, layer.folder)? {
        copy::walk(&content.join(&folder), &Leave::new([]), &mut |path, meta| {
            let mode = meta.permissions().mode() & 0o777;
            if meta.is_file() && mode & 0o222 != 0 {
                fs::set_permissions(path, Permissions::from_mode(mode & !0o222))
                    .with_context(|| format!("cannot close '{}'", path.display()))?;
            }
            Ok(())
        })?;
    }
    Ok(())
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
        let parent = folder.parent().unwrap_or(Path::new(""));
        let place = |top: &Path, below: &Path| fs::canonicalize(top.join(below)).ok();
        if place(tree, parent) != place(tree, Path::new("")).map(|top| tidy(&top.join(parent))) {
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
                let shared = !layer.copied && is_shared(below, layer);
                if shared && fs::hard_link(path, &target).is_ok() {
                    return Ok(());
                }
                // Another file system, or one without links.
                let mode = meta.permissions().mode() & 0o777 | 0o200;
                fs::copy(path, &target)
                    .and_then(|_| fs::set_permissions(&target, Permissions::from_mode(mode)))
                    .with_context(cannot)
            } else {
                Ok(())
            }
        })?;
    }
    Ok(())
}

/// Whether a path in one of the folders is a package's: what begins with a dot is what tools keep for themselves.
fn is_shared(below: &Path, layer: &TreeLayer) -> bool {
    let first = below.components().next().map(|part| part.as_os_str().to_owned()).unwrap_or_default();
    !first.as_bytes().starts_with(b".") || layer.linked.iter().any(|name| first == *name)
}

/// The folders of this name that lie in no other one of it.
pub(crate) fn folders(content: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
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
    fn packages_are_shared_and_what_tools_keep_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let (content, tree) = (top.join("content"), top.join("tree"));
        for path in [
            "node_modules/a/node_modules/b/x.js",
            "node_modules/.tool/x",
            "node_modules/.bin/y",
            "sub/node_modules/c/x.js",
        ] {
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
            linked: &[".bin"],
            copied: false,
            mount: None,
        };
        close(&content, &layer).unwrap();
        take_in(&content, &tree, &layer).unwrap();
        let meta = |path: &str| fs::metadata(tree.join(path)).unwrap();
        let one = |path: &str| fs::metadata(content.join(path)).unwrap().ino() == meta(path).ino();
        assert!(one("node_modules/a/node_modules/b/x.js") && one("node_modules/.bin/y"));
        assert!(!one("node_modules/.tool/x") && meta("node_modules/.tool/x").mode() & 0o200 != 0);
        assert_eq!(meta("node_modules/a/node_modules/b/x.js").mode() & 0o222, 0);
        assert!(!tree.join("node_modules/committed").exists());
        assert!(!tree.join("sub").exists(), "the app has no such folder");
        let shown = TreeLayer { mount: Some("/app/node_modules".into()), ..layer };
        let other = top.join("other");
        copy::copy(&content, &other, &Leave::new([])).unwrap();
        close(&other, &shown).unwrap();
        assert!(other.join("a/node_modules/b/x.js").exists() && !other.join("sub").exists());
        take_in(&other, &tree, &shown).unwrap();
        assert_eq!(fs::read_dir(tree.join("node_modules")).unwrap().count(), 0);
        let own = TreeLayer { copied: true, mount: None, ..shown };
        take_in(&content, &tree, &own).unwrap();
        assert!(!one_of(&content, &tree, "node_modules/a/node_modules/b/x.js"));
    }

    fn one_of(content: &Path, tree: &Path, path: &str) -> bool {
        fs::metadata(content.join(path)).unwrap().ino() == fs::metadata(tree.join(path)).unwrap().ino()
    }
}
