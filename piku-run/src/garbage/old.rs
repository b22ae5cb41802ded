//! Which releases are old.

use piku_build::release::BuiltRelease;
use piku_layout::paths::AppDir;

use crate::instance::record::running_releases;

/// Live and the one before it, the way back.
const LEAST_KEPT: usize = 2;

/// The old releases, and those that stay, both ascending. The newest `keep` stay, the live one always, what is newer, since
/// it is being started, and each of which an instance still runs: it may finish its requests for a long time. Where the
/// newest all have the same tree, since only the configuration has changed, the newest with another one stays too: it is
/// the way back to the code before.
pub(super) fn releases(dir: &AppDir, live: u64, keep: usize) -> anyhow::Result<(Vec<u64>, Vec<u64>)> {
    let numbers = dir.release_numbers()?;
    let running = running_releases(dir)?;
    let excess =
        numbers.iter().filter(|number| **number <= live).count().saturating_sub(keep.max(LEAST_KEPT));
    let (mut old, mut kept): (Vec<u64>, Vec<u64>) = (numbers[..excess].to_vec(), numbers[excess..].to_vec());
    let is_used = |number: &u64| *number == live || running.contains(number);
    let mut keep_too: Vec<u64> = numbers[..excess].iter().copied().filter(is_used).collect();
    let tree = |number: u64| {
        BuiltRelease::read(&dir.release(number)).ok().map(|read| read.tree_of.unwrap_or(number))
    };
    let is_the_same = |number: u64| tree(number).is_none_or(|of| Some(of) == tree(live));
    if numbers[excess..].iter().all(|number| is_the_same(*number)) {
        keep_too.extend(numbers[..excess].iter().rev().find(|number| !is_the_same(**number)));
    }
    old.retain(|number| !keep_too.contains(number));
    kept.extend(keep_too);
    kept.sort_unstable();
    kept.dedup();
    Ok((old, kept))
}
