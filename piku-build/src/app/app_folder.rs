//! An app in a sub-folder of its repository, by `APP_DIR`. That folder is then the app: it alone becomes the release, at
//! `/app`. A Procfile and an ENV that it has not itself are taken from the top.

use std::path::{Component, Path, PathBuf};

use piku_files::{FileKind, TreeHandle};

use crate::app::app_source::{AppSource, tidy};
use crate::errors;

/// The variable, in the ENV at the top or in the config.
const VARIABLE: &str = "APP_DIR";

/// What a sub-folder has from the top where it has none itself.
const SHARED: [&str; 2] = ["Procfile", "ENV"];

/// Reads an app's folder, or the one in it that `APP_DIR` names.
///
/// # Errors
/// When it is not a folder, its Procfile, its ENV or the config is no good, or `APP_DIR` leads nowhere.
pub(crate) fn find(dir: &Path, config: Option<&Path>) -> anyhow::Result<AppSource> {
    let top = AppSource::open(dir, config)?;
    let Some(below) = named(&top)? else { return AppSource::read(dir, config) };
    let mut source = AppSource::open_tree(top.tree.subtree(&below)?, config)?;
    for name in SHARED {
        if source.has(name) {
            continue;
        }
        if let Some(text) = top.text(name)? {
            source.shared.push((name, text));
        }
    }
    source.below = Some(below);
    source.parse()?;
    if source.has("ENV") && top.env.len() > usize::from(top.env.contains_key(VARIABLE)) {
        source.notes.push(
            "the folder of the app has an ENV of its own; the one at the top says APP_DIR alone".to_owned(),
        );
    }
    Ok(source)
}

/// The folder that `APP_DIR` names, below the top; `None` where it names none.
///
/// # Errors
/// When it is not there, is no folder, or leads out of the tree.
fn named(top: &AppSource) -> anyhow::Result<Option<PathBuf>> {
    let Some((value, from)) = top.variable(VARIABLE) else { return Ok(None) };
    let bad = |why: &str| errors::bad_app_dir(value, from, why);
    let below = tidy(Path::new(value.trim().trim_matches('/')));
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
            Some(_) => return Err(bad("it is no folder").into()),
            None => return Err(bad("there is no such folder").into()),
        }
    }
    Ok(Some(below))
}

/// Gives the app's folder, once it lies alone, what it has from the top.
pub(crate) fn settle(tree: &TreeHandle, shared: &[(&'static str, Vec<u8>)]) -> anyhow::Result<()> {
    for (name, text) in shared {
        tree.write(name, text, 0o644)?;
    }
    Ok(())
}
