//! Finds what killed processes left: unfinished and half-removed directories, and temporary files.

use std::path::{Path, PathBuf};

use piku_files::FileKind;
use piku_layout::paths::{AppDir, DEPLOY_PREFIX};
use piku_release::removals;

use super::{FoundEntry, entries};
use crate::releases::ASIDE;

/// Finds the leftovers. The caller keeps out everything that makes or removes releases; with `pushes`, pushes
/// too.
pub(super) fn find(dir: &AppDir, pushes: bool) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for FoundEntry { name, path, kind } in entries(dir.path()) {
        let is_push = name.starts_with(DEPLOY_PREFIX) && kind == FileKind::Folder;
        let is_aside = name.starts_with(ASIDE) || pushes && is_push;
        if is_aside || is_orphaned(&name) {
            left.push(path);
        }
    }
    left.extend(removals::list_withdrawn(dir));
    let numbers = dir.release_numbers().unwrap_or_default();
    let releases = numbers.into_iter().map(|number| dir.release(number));
    let files = releases.map(|release| entries(&release));
    for found in files.chain([entries(&dir.log())]).flatten() {
        if is_orphaned(&found.name) {
            left.push(found.path);
        }
    }
    left
}

/// Returns true for a temporary file `.NAME.PID` whose process has ended.
#[expect(clippy::disallowed_methods, reason = "looks up a process in /proc")]
fn is_orphaned(name: &str) -> bool {
    let pid =
        name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).and_then(|(_, pid)| pid.parse().ok());
    pid.is_some_and(|pid: u32| !Path::new("/proc").join(pid.to_string()).exists())
}
