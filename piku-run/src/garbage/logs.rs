//! What old deploys said. What instances say is bounded where it is written.

use std::path::PathBuf;

use piku_layout::paths::AppDir;

use super::entries;

/// The deploys whose logs stay, the failed among them, beside those of the releases that are there.
const KEPT: usize = 20;

/// The logs, and the records of failed deploys, that nobody looks at any more. The newest stays in any case: the next deploy's
/// number is above it.
pub(super) fn old(dir: &AppDir, releases: &[u64]) -> Vec<PathBuf> {
    let mut logs: Vec<(u64, PathBuf)> =
        entries(&dir.log()).into_iter().filter_map(|log| Some((number(&log.name)?, log.path))).collect();
    logs.sort();
    let mut numbers: Vec<u64> = logs.iter().map(|(number, _)| *number).collect();
    numbers.dedup();
    let excess = numbers.len().saturating_sub(KEPT);
    let old = &numbers[..excess];
    logs.retain(|(number, path)| {
        // Somebody was killed before he could take back that no release had come of it.
        let is_void = path.extension().is_some_and(|extension| extension == "json");
        if releases.contains(number) { is_void } else { old.contains(number) }
    });
    logs.into_iter().map(|(_, path)| path).collect()
}

/// The N of `deploy-N.log` and `deploy-N.json`.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix("deploy-")?.split_once('.')?.0.parse().ok()
}
