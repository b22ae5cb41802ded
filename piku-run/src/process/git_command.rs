//! git on repositories of apps.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Returns git without variables of the environment that change what it does, without hooks, replaced objects and
/// questions; it reads from no network, and its messages are English.
pub(crate) fn git_command() -> Command {
    let mut git = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"GIT_") {
            git.env_remove(name);
        }
    }
    git.env("GIT_ALLOW_PROTOCOL", "file").env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0");
    git.env("GIT_NO_REPLACE_OBJECTS", "1").env("LC_ALL", "C").args(["-c", "core.hooksPath=/dev/null"]);
    git.stdin(Stdio::null());
    git
}

/// Returns true if the repository has a branch or a tag; false if it cannot be read.
pub(crate) fn has_refs(repository: &Path) -> bool {
    look_for_refs(repository).unwrap_or(false)
}

/// Returns whether the repository has a branch or a tag, also one whose objects are missing.
///
/// # Errors
/// Fails if git cannot read it.
pub(crate) fn look_for_refs(repository: &Path) -> anyhow::Result<bool> {
    let mut git = git_command();
    git.arg("--git-dir").arg(repository);
    git.args(["for-each-ref", "--count=1", "--format=%(refname)", "refs/heads", "refs/tags"]);
    let out = git.stderr(Stdio::null()).output().context("cannot run 'git for-each-ref'")?;
    ensure!(out.status.success(), "git cannot read it ({})", out.status);
    Ok(!out.stdout.is_empty())
}
