//! Databases that running processes have made in `/app`, and that end with them: the author of an app should
//! learn that before the next deploy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use piku_files::{FileKind, TreeError, TreeHandle, WalkStep};

/// Upper directory of the overlay of `/app` in the folder of a process; piku-chroot makes it.
const CHANGES: &str = "app/upper";
/// Extensions of files that hold a database.
const DATABASES: [&str; 7] = ["sqlite3", "sqlite", "db", "db3", "sdb", "mdb", "h2"];
/// Largest number of entries of a process that are looked at.
const MAX_ENTRIES: usize = 2000;
/// Largest number of paths that are named.
const MAX_NAMED: usize = 5;

/// Returns databases below `/app`, relative to it, by the folders of running processes in `scratch`.
pub(crate) fn find_databases(scratch: &Path) -> Vec<String> {
    let Ok(scratch) = TreeHandle::open_following(scratch) else { return Vec::new() };
    let mut found = BTreeSet::new();
    for folder in scratch.read_dir("").unwrap_or_default() {
        if folder.kind != FileKind::Folder {
            continue;
        }
        let changes = Path::new(&folder.name).join(CHANGES);
        if let Ok(changes) = scratch.subtree(changes) {
            add_databases(&changes, &mut found);
        }
    }
    let shown = |path: &PathBuf| path.display().to_string().escape_debug().take(100).collect();
    found.iter().take(MAX_NAMED).map(shown).collect()
}

fn add_databases(changes: &TreeHandle, found: &mut BTreeSet<PathBuf>) {
    let mut seen = 0;
    // What the app has closed is left out.
    let _ = changes.walk::<TreeError>(|entry| {
        seen += 1;
        if seen > MAX_ENTRIES {
            return Ok(WalkStep::Stop);
        }
        let extension = Path::new(entry.name()).extension().and_then(|extension| extension.to_str());
        let is_database = extension.is_some_and(|extension| DATABASES.contains(&extension));
        if is_database && entry.stat().is_file() && entry.stat().len > 0 {
            found.insert(entry.path().to_owned());
        }
        Ok(WalkStep::Into)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn databases_of_all_processes_are_found_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        make("scratch/1/app/upper/instance/site.db");
        make("scratch/2/app/upper/db.sqlite3");
        make("scratch/2/app/upper/page.html");
        make("scratch/2/3/upper/layer.db");
        make("outside/other.db");
        std::os::unix::fs::symlink("../../../outside", dir.path().join("scratch/2/app/link")).unwrap();
        std::os::unix::fs::symlink("../outside", dir.path().join("scratch/3")).unwrap();
        assert_eq!(find_databases(&dir.path().join("scratch")), ["db.sqlite3", "instance/site.db"]);
        assert!(find_databases(&dir.path().join("none")).is_empty());
    }
}
