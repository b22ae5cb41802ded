//! Build caches over their bound. A package manager's cache goes as a whole: half of one may be worse than none. What is
//! gone is downloaded again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use piku_files::{FileKind, TreeHandle};

use super::{entries, measure};

/// When the caches were last measured.
const MEASURED: &str = "measured";
/// A walk through some hundred thousand files is not for every push.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// The caches that go so that the others take no more than `limit` bytes: the largest first.
pub(super) fn over(cache: &Path, limit: u64) -> Vec<PathBuf> {
    let is_cache = |name: &str, kind| !name.starts_with('.') && kind == FileKind::Folder;
    let folders = entries(cache).into_iter().filter(|found| is_cache(&found.name, found.kind));
    let mut sizes: Vec<(u64, PathBuf)> =
        folders.map(|found| (measure::size(&found.path), found.path)).collect();
    sizes.sort();
    let mut sum: u64 = sizes.iter().map(|(size, _)| size).sum();
    let mut over = Vec::new();
    while sum > limit {
        let Some((size, path)) = sizes.pop() else { break };
        sum -= size;
        over.push(path);
    }
    over
}

/// The same, when the last time was long ago.
pub(super) fn over_now_and_then(cache: &Path, limit: u64) -> Vec<PathBuf> {
    let Ok(tree) = TreeHandle::open_following(cache) else { return Vec::new() };
    let age = tree.symlink_metadata(MEASURED).ok().and_then(|mark| mark.modified.elapsed().ok());
    if age.is_some_and(|age| age < EVERY) {
        return Vec::new();
    }
    // One that cannot be written is measured again. A build without a jail may have left a link here: it is replaced.
    let _ = tree.write(MEASURED, "", 0o600);
    over(cache, limit)
}
