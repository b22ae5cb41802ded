//! Subordinate uids and gids of a user: /etc/subuid and /etc/subgid.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use nix::unistd::Uid;
use piku_nss::UserAccount;
use piku_report::user_error::UserError;

use crate::errors::SETUP_FAILED;

const UIDS: &str = "/etc/subuid";
const GIDS: &str = "/etc/subgid";
/// The files that give a user subordinate ids.
pub const SUBORDINATE_ID_FILES: [&str; 2] = [UIDS, GIDS];
/// Ids that the kernel shows for unknown ones, with 16 bits and with 32.
const NOBODY: [u32; 3] = [65534, 65535, u32::MAX];

/// Ranges of a user in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdRanges {
    pub(crate) file: &'static str,
    /// First id and number of ids of each range.
    ranges: Vec<(u32, u32)>,
}

#[derive(Clone, Debug)]
pub(crate) struct UserRanges {
    pub(crate) uids: IdRanges,
    pub(crate) gids: IdRanges,
}

/// Reads both files; each must contain a range of the user.
pub(crate) fn read_ranges(user: &UserAccount) -> Result<UserRanges> {
    Ok(UserRanges { uids: read_file(UIDS, user)?, gids: read_file(GIDS, user)? })
}

fn read_file(file: &'static str, user: &UserAccount) -> Result<IdRanges> {
    let text = match fs::read_to_string(file) {
        Err(err) if err.kind() == ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read '{file}'"))?,
    };
    let ranges = parse(&text, &user.name, user.uid);
    if ranges.is_empty() {
        let option = if file == UIDS { "--add-subuids" } else { "--add-subgids" };
        let first = first_free(&text);
        let last = first.saturating_add(65535);
        let hint = format!("as root: usermod {option} {first}-{last} {}, or any other free range", user.name);
        let failure = UserError::new(format!("'{}' has no range in {file}", user.name));
        return Err(failure.hint(hint).code(SETUP_FAILED).into());
    }
    Ok(IdRanges { file, ranges })
}

/// Parses the lines `NAME:FIRST:COUNT` of this user, who may be named by number. Other lines are ignored.
fn parse(text: &str, name: &str, uid: Uid) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let line = |line: &str| {
        let mut parts = line.split(':');
        let (owner, first, count) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        // No range may go beyond the last number.
        let fits = count > 0 && u32::checked_add(first, count - 1).is_some();
        (fits && parts.next().is_none() && (owner == name || owner == number)).then_some((first, count))
    };
    text.lines().filter_map(line).collect()
}

/// Returns the first id above those that any user has by these lines: two users must not share ids.
fn first_free(text: &str) -> u32 {
    let ends = text.lines().filter_map(|line| {
        let mut numbers = line.split(':').skip(1).map(str::parse::<u32>);
        Some(numbers.next()?.ok()?.saturating_add(numbers.next()?.ok()?))
    });
    ends.max().unwrap_or(0).max(100_000)
}

impl IdRanges {
    /// Returns whether one of the ranges contains the id.
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.ranges.iter().any(|(first, count)| id.checked_sub(*first).is_some_and(|at| at < *count))
    }

    /// Returns the last `free` id: containers of the same user take theirs from the first on.
    pub(crate) fn find_last(&self, free: impl Fn(u32) -> Result<bool>) -> Result<Option<u32>> {
        let ids = self.ranges.iter().rev().flat_map(|(first, count)| (*first..=first + (count - 1)).rev());
        for id in ids.filter(|id| *id != 0 && !NOBODY.contains(id)) {
            if free(id)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_the_user() {
        let text = "piku:100000:3\nother:1:9\n7:200000:1\npiku:x:1\npiku:1\npiku:1:2:3\n\npiku:5:0\npiku:4294967295:2\n";
        assert_eq!(parse(text, "piku", Uid::from_raw(7)), [(100_000, 3), (200_000, 1)]);
        assert!(parse(text, "pik", Uid::from_raw(0)).is_empty());
    }

    #[test]
    fn a_proposed_range_is_of_nobody_else() {
        assert_eq!(first_free(""), 100_000);
        assert_eq!(first_free("alice:100000:65536\nbob:1:9\nx\ncarol:231072:10\n"), 231_082);
        assert_eq!(first_free("alice:4294967295:2\n"), u32::MAX);
    }

    #[test]
    fn from_the_last_on_and_never_nobody() {
        let ranges = IdRanges { file: UIDS, ranges: vec![(0, 2), (65533, 3), (u32::MAX - 1, 2)] };
        let mut taken = Vec::new();
        while let Some(id) = ranges.find_last(|id| Ok(!taken.contains(&id))).unwrap() {
            taken.push(id);
        }
        assert_eq!(taken, [u32::MAX - 1, 65533, 1]);
        assert!(
            ranges.contains(0)
                && ranges.contains(1)
                && !ranges.contains(2)
                && ranges.contains(65535)
                && ranges.contains(u32::MAX)
        );
    }
}
