//! `.profile.d`: what a shell reads before each command of a release.

use std::ffi::OsStr;
use std::path::Path;

use piku_files::{FileKind, TreeHandle};

use crate::explain;

/// The folder of what a shell reads before each command.
const FOLDER: &str = ".profile.d";

/// Whether a shell is to read files of the tree before each command.
pub(crate) fn is_in(tree: &TreeHandle) -> bool {
    let entries = tree.read_dir(FOLDER).unwrap_or_default();
    entries.iter().any(|entry| Path::new(&entry.name).extension() == Some(OsStr::new("sh")))
}

/// Puts a file there, before all of the app's own, which may add to what it says.
pub(crate) fn put(tree: &TreeHandle, name: &str, text: &str) -> anyhow::Result<()> {
    match tree.find(FOLDER)?.map(|stat| stat.kind) {
        None => tree.create_dir(FOLDER)?,
        Some(FileKind::Folder) => {}
        Some(kind) => return Err(explain::profile_is_no_folder(FOLDER, kind).into()),
    }
    Ok(tree.write(Path::new(FOLDER).join(format!("00-{name}")), text, 0o644)?)
}
