//! `.profile.d`: what a shell reads before each command of a release.

use std::fs;
use std::path::Path;

use anyhow::Context;
use piku_procfile::durable;

use crate::explain;

/// The folder of what a shell reads before each command.
const FOLDER: &str = ".profile.d";

/// Whether a shell is to read files of the tree before each command.
pub(crate) fn is_in(tree: &Path) -> bool {
    let entries = fs::read_dir(tree.join(FOLDER)).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "sh"))
}

/// Puts a file there, before all of the app's own, which may add to what it says.
pub(crate) fn put(tree: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let folder = tree.join(FOLDER);
    if folder.is_symlink() {
        return Err(explain::profile_is_link(FOLDER).into());
    }
    let file = folder.join(format!("00-{name}"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make '{}'", folder.display()))?;
    durable::write(&file, text.as_bytes(), 0o644)
        .with_context(|| format!("cannot write '{}'", file.display()))
}
