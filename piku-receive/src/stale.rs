//! What git leaves behind when it is killed: lock files, which would stop every later push, and half-received packs.
//! Whoever holds the app's lock may remove them, for nobody who made them lives.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use piku_files::remove_all;

/// Removes them all from the bare repository `repo`. Call with the app's lock held.
pub(crate) fn sweep(repo: &Path) -> anyhow::Result<()> {
    sweep_in(repo).with_context(|| format!("cannot tidy up '{}'", repo.display()))
}

fn sweep_in(repo: &Path) -> io::Result<()> {
    remove(repo, false, &|name| is_lock(name) || name == "gc.pid")?;
    remove(&repo.join("refs"), true, &is_lock)?;
    remove(&repo.join("logs"), true, &is_lock)?;
    remove(&repo.join("objects/info"), true, &is_lock)?;
    let objects = repo.join("objects");
    remove(&objects, false, &|name| name.starts_with("tmp_objdir-") || name.starts_with("incoming-"))?;
    remove(&objects.join("pack"), false, &|name| name.starts_with("tmp_") || name.starts_with(".tmp-"))
}

/// No ref may end so, and no other file of git's does.
fn is_lock(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "lock")
}

fn remove(dir: &Path, deep: bool, stale: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    for entry in entries {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        if entry.file_name().to_str().is_some_and(stale) {
            remove_all(&entry.path())?;
        } else if deep && is_dir {
            remove(&entry.path(), true, stale)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        sweep(dir.path()).unwrap();
        sweep(dir.path()).unwrap();
        for file in stays {
            assert!(dir.path().join(file).exists(), "{file}");
        }
        for file in goes {
            assert!(!dir.path().join(file).exists(), "{file}");
        }
        assert!(!dir.path().join("objects/tmp_objdir-incoming-X").exists());
    }
}
