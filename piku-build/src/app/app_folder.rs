//! Apps in a subdirectory of their repository, named by `APP_DIR`. Only that directory becomes the release,
//! at `/app`. If it has no Procfile or `ENV`, those of the top directory are used.

use std::path::{Component, Path, PathBuf};

use piku_files::{FileKind, TreeHandle};

use crate::app::app_source::{AppSource, normalize_path};
use crate::errors;

/// The variable, in the ENV at the top or in the config.
const VARIABLE: &str = "APP_DIR";

/// Files that a subdirectory inherits from the top directory if it has none.
const SHARED: [&str; 2] = ["Procfile", "ENV"];

/// Reads the app in `dir`, or in the subdirectory that `APP_DIR` names.
///
/// # Errors
/// Fails if it is not a folder, its Procfile, its ENV or the config is invalid, or `APP_DIR` names no
/// directory.
pub(crate) fn read_app(dir: &Path, config: Option<&Path>) -> anyhow::Result<AppSource> {
    let top = AppSource::open(dir, config)?;
    let Some(below) = named(&top)? else { return AppSource::read(dir, config) };
    let mut source = AppSource::open_tree(top.tree.subtree(&below)?, config)?;
    for name in SHARED {
        if source.has_entry(name) {
            continue;
        }
        if let Some(text) = top.read_bytes(name)? {
            source.shared.push((name, text));
        }
    }
    source.below = Some(below);
    source.parse()?;
    if source.has_entry("ENV") && top.env.len() > usize::from(top.env.contains_key(VARIABLE)) {
        source.notes.push(
            "the folder of the app has an ENV of its own; the one at the top says APP_DIR alone".to_owned(),
        );
    }
    Ok(source)
}

/// Returns the directory that `APP_DIR` names, relative to the top; `None` if `APP_DIR` is not set.
///
/// # Errors
/// Fails if it is missing, not a directory, or leads out of the tree.
fn named(top: &AppSource) -> anyhow::Result<Option<PathBuf>> {
    let Some((value, from)) = top.variable(VARIABLE) else { return Ok(None) };
    let bad = |why: &str| errors::bad_app_dir(value, from, why);
    let below = normalize_path(Path::new(value.trim().trim_matches('/')));
    if below.as_os_str().is_empty() {
        return Ok(None);
    }
    if !below.components().all(|part| matches!(part, Component::Normal(name) if name != ".git")) {
        return Err(bad("it leads out of the repository").into());
    }
    let mut path = PathBuf::new();
    for part in below.components() {
        path.push(part);
        match top.tree.find(&path)?.map(|stat| stat.kind) {
            Some(FileKind::Folder) => {}
            Some(FileKind::Link) => return Err(bad("there is a link on the way").into()),
            Some(_) => return Err(bad("it is not a folder").into()),
            None => return Err(bad("there is no such folder").into()),
        }
    }
    Ok(Some(below))
}

/// Writes the files of the top directory into the app's directory after it has been moved.
pub(crate) fn write_inherited(tree: &TreeHandle, shared: &[(&'static str, Vec<u8>)]) -> anyhow::Result<()> {
    for (name, text) in shared {
        tree.write(name, text, 0o644)?;
    }
    Ok(())
}
