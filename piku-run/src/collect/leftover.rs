//! What somebody who was killed has left: folders in the making, half removed ones, files that were to be renamed.

use std::path::{Path, PathBuf};

use piku_build::layer::TOOLS;
use piku_build::release::DELTA;
use piku_procfile::layout::AppDir;

use super::entries;
use crate::releases::ASIDE;

/// What the name of a folder ends with that is about to be removed; it begins with a dot.
pub(super) const GONE: &str = ".gone";

/// Looked for by who keeps all others out that make or remove releases, and, with `pushes`, those who push too.
pub(super) fn find(dir: &AppDir, pushes: bool) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for (name, path) in entries(dir.path()) {
        let is_aside = name.starts_with(ASIDE) || pushes && name.starts_with("deploy.") && path.is_dir();
        if is_aside || is_of_the_dead(&name) {
            left.push(path);
        }
    }
    for folder in [dir.releases(), dir.layers(), dir.cache(), dir.cache().join(TOOLS)] {
        let half =
            entries(&folder).into_iter().filter(|(name, _)| name.starts_with('.') && name.ends_with(GONE));
        left.extend(half.map(|(_, path)| path));
    }
    let numbers = dir.release_numbers().unwrap_or_default();
    let releases = numbers.into_iter().map(|number| dir.release(number));
    for folder in releases.flat_map(|release| [release.join(DELTA), release]).chain([dir.log()]) {
        let files = entries(&folder).into_iter().filter(|(name, _)| is_of_the_dead(name));
        left.extend(files.map(|(_, path)| path));
    }
    left
}

/// Whether it is a file that a process wrote beside the one it was to replace, `.NAME.PID`, and the process has ended.
fn is_of_the_dead(name: &str) -> bool {
    let pid =
        name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).and_then(|(_, pid)| pid.parse().ok());
    pid.is_some_and(|pid: u32| !Path::new("/proc").join(pid.to_string()).exists())
}
