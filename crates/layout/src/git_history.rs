//! Histories of apps in git.

/// Errors that old tools wrote into real histories and that other git servers accept, by their names in `fsck`
/// settings of git. None of them changes a file.
pub const TOLERATED_ERRORS: [&str; 12] = [
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
];

/// Returns the first 7 digits of a commit.
#[must_use]
pub fn short_commit(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
