//! The build caches of a build that begins with none: it fills its own, and those take the place of the old ones when it has
//! succeeded. A cache may always be thrown away; what another build has in use meanwhile it will fetch again.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use piku_files::{TreeError, TreeHandle};

/// Moves each cache in `fresh` to its name in `caches`; what was there goes to the new folder `away`, which its owner removes.
pub(crate) fn replace(caches: &Path, fresh: &Path, away: &Path) -> Result<(), TreeError> {
    let (caches, fresh, away) =
        (TreeHandle::open(caches)?, TreeHandle::open(fresh)?, TreeHandle::create(away)?);
    for entry in fresh.read_dir("")? {
        clear(&caches, &entry.name, &away)?;
        match fresh.rename(&entry.name, &caches, &entry.name) {
            // On another file system: the next build fetches again what it needs.
            Err(err) if err.kind() == io::ErrorKind::CrossesDevices => {}
            done => done?,
        }
    }
    Ok(())
}

fn clear(caches: &TreeHandle, name: &OsStr, away: &TreeHandle) -> Result<(), TreeError> {
    match caches.rename(name, away, name) {
        Err(err) if err.is_missing() => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::CrossesDevices => caches.remove_all(name),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
