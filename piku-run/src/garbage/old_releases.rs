//! Decides which releases are old enough to remove.

use piku_layout::paths::AppDir;
use piku_release::manifest::BuiltRelease;

use crate::instance::record::running_releases;
use crate::releases::release_use;

/// The live release and the previous one, for a rollback.
const MIN_KEPT: usize = 2;

/// Splits the release numbers into those to remove and those to keep, both ascending.
///
/// Kept are the newest `keep`, the live release, newer ones (one may be starting), and each release that an
/// instance still runs, perhaps finishing its requests, or a command of `piku run`. If all of the newest have the
/// same app tree because only the config changed, the newest release with another tree is kept too, so that a
/// rollback can restore the previous code.
pub(super) fn split_releases(dir: &AppDir, live: u64, keep: usize) -> anyhow::Result<(Vec<u64>, Vec<u64>)> {
    let numbers = dir.release_numbers()?;
    let running = running_releases(dir)?;
    let excess = numbers.iter().filter(|number| **number <= live).count().saturating_sub(keep.max(MIN_KEPT));
    let (mut old, mut kept): (Vec<u64>, Vec<u64>) = (numbers[..excess].to_vec(), numbers[excess..].to_vec());
    let is_used =
        |number: &u64| *number == live || running.contains(number) || release_use::is_used(dir, *number);
    let mut keep_too: Vec<u64> = numbers[..excess].iter().copied().filter(is_used).collect();
    let tree = |number: u64| {
        BuiltRelease::read(&dir.release(number)).ok().map(|read| read.tree_of.unwrap_or(number))
    };
    let has_live_tree = |number: u64| tree(number).is_none_or(|of| Some(of) == tree(live));
    if numbers[excess..].iter().all(|number| has_live_tree(*number)) {
        keep_too.extend(numbers[..excess].iter().rev().find(|number| !has_live_tree(**number)));
    }
    old.retain(|number| !keep_too.contains(number));
    kept.extend(keep_too);
    kept.sort_unstable();
    kept.dedup();
    Ok((old, kept))
}
