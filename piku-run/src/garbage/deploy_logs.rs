//! Finds the logs of old deploys. Logs of instances are rotated by their writer.

use std::path::PathBuf;

use piku_layout::paths::AppDir;

use super::entries;

/// Number of deploys, failed ones included, whose logs stay besides those of the existing releases.
const KEPT: usize = 20;

/// Returns the logs and the records of failed deploys to remove. The newest always stays: the next deploy's
/// number is derived from it.
pub(super) fn find_old(dir: &AppDir, releases: &[u64]) -> Vec<PathBuf> {
    let mut logs: Vec<(u64, PathBuf)> = entries(&dir.log())
        .into_iter()
        .filter_map(|log| Some((parse_number(&log.name)?, log.path)))
        .collect();
    logs.sort();
    let mut numbers: Vec<u64> = logs.iter().map(|(number, _)| *number).collect();
    numbers.dedup();
    let excess = numbers.len().saturating_sub(KEPT);
    let old = &numbers[..excess];
    logs.retain(|(number, path)| {
        // A failure record beside an existing release remains from a process killed before it could remove
        // it.
        let is_stale = path.extension().is_some_and(|extension| extension == "json");
        if releases.contains(number) { is_stale } else { old.contains(number) }
    });
    logs.into_iter().map(|(_, path)| path).collect()
}

/// Returns the N of `deploy-N.log` or `deploy-N.json`.
fn parse_number(name: &str) -> Option<u64> {
    name.strip_prefix("deploy-")?.split_once('.')?.0.parse().ok()
}
