//! Files that an app of the Python piku wrote beside its code: git does not have them, and its deploys left them
//! alone.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use piku_files::{FileKind, TreeError, TreeHandle, WalkStep};

/// Names that builds, interpreters and tools make anew.
const REMADE: [&str; 24] = [
    ".git",
    ".venv",
    "venv",
    "env",
    "node_modules",
    "bower_components",
    "__pycache__",
    "target",
    "build",
    "dist",
    "bin",
    "obj",
    "staticfiles",
    ".next",
    ".cache",
    ".bundle",
    ".bin",
    ".gradle",
    ".pytest_cache",
    ".mypy_cache",
    "tmp",
    "log",
    "logs",
    "coverage",
];
const REMADE_ENDINGS: [&str; 6] = [".pyc", ".pyo", ".log", ".pid", ".sock", ".egg-info"];

/// Returns the paths of the tree that are neither tracked nor made by tools, sorted; a directory without
/// tracked files stands for what it holds and ends with a slash. Stops after `most`.
pub(super) fn find_untracked(
    tree: &TreeHandle,
    tracked: &HashSet<PathBuf>,
    most: usize,
) -> Result<Vec<PathBuf>, TreeError> {
    let mut folders: HashSet<&Path> = HashSet::new();
    for path in tracked {
        folders.extend(path.ancestors().skip(1));
    }
    let mut found = Vec::new();
    tree.walk(|entry| -> Result<WalkStep, TreeError> {
        let path = entry.path();
        if is_remade(entry.name()) || tracked.contains(path) {
            return Ok(WalkStep::Over);
        }
        match entry.stat().kind {
            FileKind::Folder if folders.contains(path) => return Ok(WalkStep::Into),
            FileKind::Folder => found.push(path.join("")),
            FileKind::Regular => found.push(path.to_owned()),
            _ => {}
        }
        Ok(if found.len() < most { WalkStep::Over } else { WalkStep::Stop })
    })?;
    found.sort();
    Ok(found)
}

fn is_remade(name: &OsStr) -> bool {
    let has_ending = |ending: &str| name.as_bytes().ends_with(ending.as_bytes());
    REMADE.iter().any(|remade| name == *remade) || REMADE_ENDINGS.iter().any(|ending| has_ending(ending))
}
