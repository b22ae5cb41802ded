//! The build caches of a build that begins with none: it fills its own, and those take the place of the old ones when it has
//! succeeded. A cache may always be thrown away; what another build has in use meanwhile it will fetch again.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;

use piku_procfile::remove;

/// Moves each cache in `fresh` to its name in `caches`; what was there goes to `away`, which its owner removes.
pub(crate) fn replace(caches: &Path, fresh: &Path, away: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot replace the caches in '{}'", caches.display());
    fs::create_dir_all(away).with_context(cannot)?;
    for entry in fs::read_dir(fresh).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name();
        let (old, new) = (caches.join(&name), fresh.join(&name));
        clear(&old, &away.join(&name)).with_context(cannot)?;
        match fs::rename(&new, &old) {
            // On another file system: the next build fetches again what it needs.
            Err(err) if err.kind() == io::ErrorKind::CrossesDevices => {}
            done => done.with_context(cannot)?,
        }
    }
    Ok(())
}

fn clear(old: &Path, away: &Path) -> io::Result<()> {
    match fs::rename(old, away) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::CrossesDevices => remove::all(old),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_caches_take_the_place_of_old_ones_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for file in ["caches/pip/old", "caches/npm/old", "fresh/pip/new", "fresh/go/new"] {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), "").unwrap();
        }
        replace(&at("caches"), &at("fresh"), &at("away")).unwrap();
        for (file, is_there) in [("pip/old", false), ("pip/new", true), ("go/new", true), ("npm/old", true)] {
            assert_eq!(at("caches").join(file).exists(), is_there, "{file}");
        }
    }
}
