//! Removal of the files that a killed git leaves: lock files, which would block every later push, and
//! incomplete packs.
//!
//! The holder of the app's lock may remove them: no other git process writes to the repository.

use std::path::Path;

use anyhow::Context;
use piku_files::{TreeError, TreeHandle, WalkStep};

/// Removes them from the bare repository `repo`. The caller holds the app's lock.
pub(crate) fn remove_leftovers(repo: &Path) -> anyhow::Result<()> {
    remove_all_kinds(repo).with_context(|| format!("cannot clean up '{}'", repo.display()))
}

fn remove_all_kinds(repo: &Path) -> Result<(), TreeError> {
    let repo = TreeHandle::open(repo)?;
    remove_matching(&repo, "", false, &|name| is_lock(name) || name == "gc.pid")?;
    for folder in ["refs", "logs", "objects/info"] {
        remove_matching(&repo, folder, true, &is_lock)?;
    }
    remove_matching(&repo, "objects", false, &|name| {
        name.starts_with("tmp_objdir-") || name.starts_with("incoming-")
    })?;
    remove_matching(&repo, "objects/pack", false, &|name| {
        name.starts_with("tmp_") || name.starts_with(".tmp-")
    })
}

/// Returns whether the name ends with `.lock`. A ref cannot, and no other file of git does.
fn is_lock(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "lock")
}

/// Removes matching entries of a directory of the repository, with `deep` also below it.
fn remove_matching(
    repo: &TreeHandle,
    folder: &str,
    deep: bool,
    stale: &dyn Fn(&str) -> bool,
) -> Result<(), TreeError> {
    let folder = match repo.subtree(folder) {
        Err(err) if err.is_missing() => return Ok(()),
        opened => opened?,
    };
    let mut found = Vec::new();
    folder.walk(|entry| -> Result<WalkStep, TreeError> {
        if entry.name().to_str().is_some_and(stale) {
            found.push(entry.path().to_owned());
            return Ok(WalkStep::Over);
        }
        Ok(if deep { WalkStep::Into } else { WalkStep::Over })
    })?;
    found.iter().try_for_each(|path| folder.remove_all(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn removes_what_is_stale_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let stays = [
            "HEAD",
            "config",
            "refs/heads/lock",
            "refs/heads/a/main",
            "objects/pack/pack-1.pack",
            "modules/x.lock",
        ];
        let goes = [
            "HEAD.lock",
            "packed-refs.lock",
            "gc.pid",
            "refs/heads/main.lock",
            "refs/heads/a/b.lock",
            "objects/tmp_objdir-incoming-X/pack/p",
            "objects/incoming-Y/z",
            "objects/pack/tmp_pack_Z",
            "objects/info/commit-graph.lock",
        ];
        for file in stays.iter().chain(&goes) {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("kept.lock"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("refs/heads/out")).unwrap();
        remove_leftovers(dir.path()).unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert!(elsewhere.path().join("kept.lock").exists(), "no link is followed");
        for file in stays {
            assert!(dir.path().join(file).exists(), "{file}");
        }
        for file in goes {
            assert!(!dir.path().join(file).exists(), "{file}");
        }
        assert!(!dir.path().join("objects/tmp_objdir-incoming-X").exists());
    }
}
