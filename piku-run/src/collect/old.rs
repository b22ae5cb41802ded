//! Which releases are old.

use piku_build::release::Release;
use piku_procfile::layout::AppDir;

/// Live and the one before it: the instances of the latter may still be ending.
const LEAST_KEPT: usize = 2;

/// The old releases, and those that stay, both ascending. The newest `keep` stay, the live one always, and what is newer:
/// it is being started. Where all that stay have the same tree, since only the configuration has changed, the newest with
/// another one stays too: it is the way back to the code before.
pub(super) fn releases(dir: &AppDir, live: u64, keep: usize) -> anyhow::Result<(Vec<u64>, Vec<u64>)> {
    let numbers = dir.release_numbers()?;
    let excess =
        numbers.iter().filter(|number| **number <= live).count().saturating_sub(keep.max(LEAST_KEPT));
    let (mut old, mut kept): (Vec<u64>, Vec<u64>) = (numbers[..excess].to_vec(), numbers[excess..].to_vec());
    let mut keep_too = |number: Option<u64>| {
        if let Some(number) = number {
            old.retain(|other| *other != number);
            kept.push(number);
        }
    };
    keep_too(numbers[..excess].iter().copied().find(|number| *number == live));
    let tree =
        |number: u64| Release::read(&dir.release(number)).ok().map(|read| read.tree_of.unwrap_or(number));
    let is_the_same = |number: u64| tree(number).is_none_or(|of| Some(of) == tree(live));
    if numbers[excess..].iter().all(|number| is_the_same(*number)) {
        keep_too(numbers[..excess].iter().rev().copied().find(|number| !is_the_same(*number)));
    }
    kept.sort_unstable();
    kept.dedup();
    Ok((old, kept))
}
