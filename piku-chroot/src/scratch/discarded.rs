//! `--tell-discarded`: names the files that a command has written to /app, which end with it: the
//! author of an app has to learn about a lost database before its users do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use piku_files::{TreeEntry, TreeError, TreeHandle, WalkStep};
use piku_report::user_error::tell;

use super::overlay::UPPER;

/// Largest number of entries that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Largest number of paths that are named.
const MAX_NAMED: usize = 5;
/// Longest named path, in characters.
const MAX_SHOWN: usize = 100;

/// Names, at any place, of files and folders that programs make again when they are missing.
const REPLACEABLE: [&str; 12] = [
    "__pycache__",
    ".cache",
    "cache",
    "node_modules",
    "tmp",
    "temp",
    ".tmp",
    "log",
    "logs",
    "pids",
    ".npm",
    ".bundle",
];
/// Extensions of such files.
const REPLACEABLE_FILES: [&str; 8] = ["pyc", "pid", "log", "lock", "sock", "tmp", "swp", "map"];
/// Endings of files that belong to the database beside them.
const JOURNALS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Prints which files of a command in the overlay of /app are removed now. `setting` is the name of the
/// setting that keeps paths.
pub(super) fn tell_discarded(folder: &Path, setting: &str) {
    let paths = find_discarded(folder).join(",");
    if !paths.is_empty() {
        tell(&format!(
            "piku-chroot: {paths} in /app ends with this process; {setting}={paths} keeps it in /data"
        ));
    }
}

/// Returns the files that a command has written in the overlay of /app, the first few; a directory with
/// several of them instead of them.
fn find_discarded(folder: &Path) -> Vec<String> {
    let Ok(upper) = TreeHandle::open(&folder.join(UPPER)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = Vec::new();
    let mut seen = 0;
    // What cannot be read is left out: the command has closed it.
    let _ = upper.walk::<TreeError>(|entry| {
        seen += 1;
        if seen > MAX_ENTRIES || files.len() >= MAX_ENTRIES {
            return Ok(WalkStep::Stop);
        }
        if is_replaceable(entry) {
            return Ok(WalkStep::Over);
        }
        if entry.stat().is_file() && entry.stat().len > 0 {
            files.push(entry.path().to_owned());
        }
        Ok(WalkStep::Into)
    });
    name_paths(&files)
}

fn is_replaceable(entry: &TreeEntry<'_>) -> bool {
    let name = entry.name().to_string_lossy();
    let extension = Path::new(&*name).extension().and_then(|extension| extension.to_str());
    REPLACEABLE.contains(&&*name)
        || extension.is_some_and(|extension| REPLACEABLE_FILES.contains(&extension))
        || JOURNALS.iter().any(|ending| name.ends_with(ending))
}

/// Returns one name for each file at the top, and for each directory that has files.
fn name_paths(files: &[PathBuf]) -> Vec<String> {
    let mut named = BTreeSet::new();
    for file in files {
        let parent = file.parent().unwrap_or(Path::new(""));
        let path = if parent.as_os_str().is_empty() { file } else { parent };
        let above = named.iter().any(|above: &PathBuf| path.starts_with(above));
        if !above {
            named.retain(|below: &PathBuf| !below.starts_with(path));
            named.insert(path.to_owned());
        }
    }
    let shown =
        |path: &PathBuf| -> String { path.display().to_string().escape_debug().take(MAX_SHOWN).collect() };
    named.iter().take(MAX_NAMED).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn databases_and_uploads_are_named_and_caches_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("db.sqlite3", "x"),
            ("db.sqlite3-wal", "x"),
            ("uploads/2026/a.png", "x"),
            ("uploads/b.png", "x"),
            ("instance/app.db", "x"),
            ("empty.txt", ""),
            ("pkg/__pycache__/a.pyc", "x"),
            ("log/production.log", "x"),
            ("tmp/pids/server.pid", "x"),
        ] {
            let path = dir.path().join(UPPER).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        assert_eq!(find_discarded(dir.path()), ["db.sqlite3", "instance", "uploads"]);
        assert!(find_discarded(&dir.path().join("none")).is_empty());
    }

    #[test]
    fn a_few_names_on_one_line() {
        let files: Vec<PathBuf> = (0..20).map(|number| format!("a\n{number}").into()).collect();
        let named = name_paths(&files);
        assert_eq!(named.len(), MAX_NAMED);
        assert!(named.iter().all(|name| !name.contains('\n')), "{named:?}");
    }
}
