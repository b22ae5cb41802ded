//! What somebody who was killed has left: folders in the making, half removed ones, files that were to be renamed.

use std::path::{Path, PathBuf};

use piku_build::store::layer::TOOLS;
use piku_files::{FileKind, TreeHandle};
use piku_layout::paths::AppDir;

use super::{FoundEntry, entries, entries_of};
use crate::releases::ASIDE;

/// What the name of a folder ends with that is about to be removed; it begins with a dot.
pub(super) const GONE: &str = ".gone";

/// Looked for by who keeps all others out that make or remove releases, and, with `pushes`, those who push too.
pub(super) fn find(dir: &AppDir, pushes: bool) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for FoundEntry { name, path, kind } in entries(dir.path()) {
        let is_push = name.starts_with("deploy.") && kind == FileKind::Folder;
        let is_aside = name.starts_with(ASIDE) || pushes && is_push;
        if is_aside || is_of_the_dead(&name) {
            left.push(path);
        }
    }
    let folders = [dir.releases(), dir.layers(), dir.cache()].map(|folder| entries(&folder));
    for found in folders.into_iter().chain([entries_below(&dir.cache(), TOOLS)]).flatten() {
        if found.name.starts_with('.') && found.name.ends_with(GONE) {
            left.push(found.path);
        }
    }
    let numbers = dir.release_numbers().unwrap_or_default();
    let releases = numbers.into_iter().map(|number| dir.release(number));
    let files = releases.map(|release| entries(&release));
    for found in files.chain([entries(&dir.log())]).flatten() {
        if is_of_the_dead(&found.name) {
            left.push(found.path);
        }
    }
    left
}

/// Lists a folder in one that builds may have written: nothing where a link is in its place.
fn entries_below(folder: &Path, name: &str) -> Vec<FoundEntry> {
    let below = TreeHandle::open_following(folder).and_then(|folder| folder.subtree(name));
    below.map(|below| entries_of(&below)).unwrap_or_default()
}

/// Whether it is a file that a process wrote beside the one it was to replace, `.NAME.PID`, and the process has ended.
#[expect(clippy::disallowed_methods, reason = "asks the kernel which processes live")]
fn is_of_the_dead(name: &str) -> bool {
    let pid =
        name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).and_then(|(_, pid)| pid.parse().ok());
    pid.is_some_and(|pid: u32| !Path::new("/proc").join(pid.to_string()).exists())
}
