//! Finds build caches over the size limit. A package manager's cache is removed as a whole, since half a
//! cache may be worse than none; the next build downloads it again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use piku_files::{FileKind, TreeHandle};

use super::{disk_usage, entries};

/// File whose modification time says when the caches were last measured.
const MEASURED: &str = "measured";
/// Walking several hundred thousand files takes too long to do at every push.
const MEASURE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Returns the caches to remove so that the others use at most `limit` bytes, largest first.
pub(super) fn find_excess(cache: &Path, limit: u64) -> Vec<PathBuf> {
    let is_cache = |name: &str, kind| !name.starts_with('.') && kind == FileKind::Folder;
    let folders = entries(cache).into_iter().filter(|found| is_cache(&found.name, found.kind));
    let mut sizes: Vec<(u64, PathBuf)> =
        folders.map(|found| (disk_usage::size_of(&found.path), found.path)).collect();
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

/// Does the same as [`find_excess`], at most once a day.
pub(super) fn find_excess_daily(cache: &Path, limit: u64) -> Vec<PathBuf> {
    let Ok(tree) = TreeHandle::open_following(cache) else { return Vec::new() };
    let age = tree.symlink_metadata(MEASURED).ok().and_then(|mark| mark.modified.elapsed().ok());
    if age.is_some_and(|age| age < MEASURE_INTERVAL) {
        return Vec::new();
    }
    // If this fails, the next push measures again. A symlink left here by an unjailed build is replaced, not
    // followed.
    let _ = tree.write(MEASURED, "", 0o600);
    find_excess(cache, limit)
}
