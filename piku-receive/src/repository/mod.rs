//! The bare repository of an app: its configuration, its branches, and what git leaves behind in it.

pub(crate) mod branch;
pub(crate) mod git_leftovers;
pub(crate) mod setup;

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Context;
use git2::{Repository, RepositoryOpenFlags};

/// Opens the bare repository at `path`, not one in a folder above it.
pub(crate) fn open(path: &Path) -> anyhow::Result<Repository> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
    Repository::open_ext(path, flags, [] as [&OsStr; 0])
        .map_err(plain_error)
        .with_context(|| format!("cannot open the repository '{}'", path.display()))
}

/// libgit2's error as one line of text without its class and code.
#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
pub(crate) fn plain_error(err: git2::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", err.message().trim_end().replace('\n', " "))
}

/// As many digits of a commit as people read.
pub(crate) fn short_commit(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
