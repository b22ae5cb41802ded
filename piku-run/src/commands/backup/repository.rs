//! An app's repository as a git bundle, and back. A bundle has the branches and tags at one moment with all that
//! they need, whatever is pushed meanwhile. Nothing else of a repository is taken from a backup: its settings and
//! hooks could name programs.

#![expect(clippy::disallowed_methods, reason = "repositories, which only git and piku write")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use piku_backup::SavedApp;
use piku_layout::git_history::TOLERATED_ERRORS;
use piku_report::diagnostic::readable;
use piku_report::user_error::UserError;

use crate::commands::lifecycle::clone::set_branch;
use crate::process::git_command::git_command;

const HEADS: &str = "refs/heads/";
/// The deploy branch of a restored repository, beside the commit that was live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestoredBranch {
    /// It is at this commit.
    AtLive,
    /// It was set back to this commit; its tip got a tag.
    SetBack,
    /// The backup has no such commit, and the branch stays as it is.
    LacksLive,
}

/// Place of the branch's tip, if a commit before it was live.
const TIP: &str = "refs/tags/before-restore";

/// Returns the deploy branch, without `refs/heads/`; `None` if there is no repository.
pub(super) fn read_branch(repo: &Path) -> Option<String> {
    let mut git = git_command();
    git.arg("--git-dir").arg(repo).args(["symbolic-ref", "--quiet", "HEAD"]);
    let out = git.stderr(Stdio::null()).output().ok()?;
    let name = String::from_utf8(out.stdout).ok()?;
    name.trim_end().strip_prefix(HEADS).map(str::to_owned)
}

/// Returns the command that prints the bundle.
pub(super) fn bundle_command(repo: &Path) -> Command {
    let mut git = git_command();
    git.arg("--git-dir").arg(repo).args(["bundle", "create", "--quiet", "-", "--all"]);
    git
}

/// Makes a repository from a bundle, which may come from anyone: git checks each object. `shallow` is the boundary
/// of a shallow one.
///
/// # Errors
/// Fails if the bundle is not whole.
pub(super) fn create_from_bundle(
    repo: &Path,
    bundle: &Path,
    shallow: Option<&[u8]>,
    saved: &SavedApp,
) -> anyhow::Result<()> {
    create_empty(repo, saved)?;
    if let Some(text) = shallow {
        let is_id = |line: &[u8]| matches!(line.len(), 40 | 64) && line.iter().all(u8::is_ascii_hexdigit);
        let lines = text.strip_suffix(b"\n").unwrap_or(text);
        ensure!(lines.split(|byte| *byte == b'\n').all(is_id), "its part 'shallow' is no list of commits");
        let path = repo.join("shallow");
        fs::write(&path, text).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    let mut fetch = git_command();
    fetch.env("GIT_ALLOW_PROTOCOL", "file").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    fetch.arg("--git-dir").arg(repo).args(["-c", "core.hooksPath=/dev/null", "-c", "fetch.fsckObjects=true"]);
    for tolerated in TOLERATED_ERRORS {
        fetch.args(["-c", &format!("fetch.fsck.{tolerated}=ignore")]);
    }
    fetch.args(["fetch", "--quiet", "--atomic", "--no-write-fetch-head", "--no-auto-gc", "--update-head-ok"]);
    fetch.arg("--").arg(bundle).args(["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"]);
    run(&mut fetch)
}

/// Makes a repository without commits, with the deploy branch of the backup.
pub(super) fn create_empty(repo: &Path, saved: &SavedApp) -> anyhow::Result<()> {
    let mut init = git_command();
    init.args(["init", "--quiet", "--bare", "--template="]).arg(repo);
    run(&mut init)?;
    let name = format!("{HEADS}{}", saved.branch.as_deref().unwrap_or("main"));
    let mut head = git_command();
    head.arg("--git-dir").arg(repo).args(["symbolic-ref", "HEAD", &name]);
    run(&mut head)
}

/// Sets the deploy branch to the commit that was live, so that a deploy makes it live again.
pub(super) fn return_to_commit(repo: &Path, commit: &str) -> anyhow::Result<RestoredBranch> {
    let mut git = git_command();
    git.arg("--git-dir").arg(repo).args(["rev-parse", "--verify", "--quiet", "HEAD"]);
    let out = git.stderr(Stdio::null()).output().context("cannot run 'git rev-parse'")?;
    let tip = String::from_utf8_lossy(&out.stdout).trim_end().to_owned();
    if tip == commit {
        return Ok(RestoredBranch::AtLive);
    }
    if !set_branch(repo, commit)? {
        return Ok(RestoredBranch::LacksLive);
    }
    if !tip.is_empty() {
        let mut tag = git_command();
        tag.arg("--git-dir").arg(repo).args(["update-ref", TIP, &tip]);
        run(&mut tag)?;
    }
    Ok(RestoredBranch::SetBack)
}

fn run(git: &mut Command) -> anyhow::Result<()> {
    let out = git.output().context("cannot run git")?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(UserError::new(format!("git refuses the repository of the backup: {}", readable(line))).into())
}
