//! The bare repository of an app: its configuration, its branches and the files of interrupted git
//! processes.

pub(crate) mod branch;
pub(crate) mod create;
pub(crate) mod git_leftovers;
pub(crate) mod setup;

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Context;
use git2::{Repository, RepositoryOpenFlags};

/// Opens the bare repository at `path`, never one in a parent directory.
pub(crate) fn open(path: &Path) -> anyhow::Result<Repository> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
    Repository::open_ext(path, flags, [] as [&OsStr; 0])
        .map_err(plain_error)
        .with_context(|| format!("cannot open the repository '{}'", path.display()))
}

/// Returns the message of a libgit2 error on one line, without its class and code.
#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
pub(crate) fn plain_error(err: git2::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", err.message().trim_end().replace('\n', " "))
}
