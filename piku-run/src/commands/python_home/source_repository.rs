//! Repository of an app of the Python piku, read by git. Its settings are not trusted: only git's
//! `upload-pack`, which is made for that, runs in it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use piku_layout::git_history::{TOLERATED_ERRORS, short_commit};
use piku_report::user_error::UserError;

use crate::process::git_command::git_command;

const HEADS: &str = "refs/heads/";
/// Serves repositories of other users, too.
const UPLOAD_PACK: &str = "--upload-pack=git -c 'safe.directory=*' upload-pack";
/// Largest list of paths, since a small repository can name paths without end.
const MAX_LIST: u64 = 64 << 20;
/// Repository in the old home, or in a work tree of it.
#[derive(Debug)]
pub(super) struct SourceRepository(pub(super) PathBuf);

/// Branch that will be deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceBranch {
    /// Name without `refs/heads/`.
    pub(super) name: String,
    pub(super) commit: String,
}

impl SourceRepository {
    /// Chooses the branch whose tip was live; else that of HEAD, `main`, `master` or the first. `None` if
    /// there is no branch.
    pub(super) fn choose_branch(&self, live: Option<&str>) -> anyhow::Result<Option<SourceBranch>> {
        let mut git = git_command();
        git.args(["ls-remote", "--symref", UPLOAD_PACK, "--"]).arg(&self.0).args(["HEAD", "refs/heads/*"]);
        let out = git.output().context("cannot run git")?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "git cannot read '{}': {}", self.0.display(), first_line(&said));
        Ok(choose_branch(&String::from_utf8_lossy(&out.stdout), live))
    }

    /// Returns the tracked paths of a commit.
    pub(super) fn list_tracked(&self, commit: &str) -> anyhow::Result<HashSet<PathBuf>> {
        let mut git = git_command();
        // Nothing that the repository names is contacted for missing objects.
        git.env("GIT_ALLOW_PROTOCOL", "none").arg("--git-dir").arg(&self.0);
        git.args(["-c", "safe.directory=*", "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]);
        git.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = git.spawn().context("cannot run git")?;
        let mut listed = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_LIST).read_to_end(&mut listed).context("cannot read what git prints")?;
        }
        // A longer list has lost its reader.
        let status = child.wait().context("cannot wait for git")?;
        ensure!(status.success(), "git cannot list the files of {}", short_commit(commit));
        let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| PathBuf::from(OsString::from_vec(name.to_vec()))).collect())
    }

    /// Fetches all branches and tags into the empty repository `target`, all or none.
    pub(super) fn fetch_into(&self, target: &Path, branch: &SourceBranch) -> anyhow::Result<()> {
        let head = format!("{HEADS}{}", branch.name);
        run_git(git_command().arg("--git-dir").arg(target).args(["symbolic-ref", "HEAD", &head]))?;
        let mut git = git_command();
        git.arg("--git-dir").arg(target).args(["-c", "fetch.fsckObjects=true"]);
        for tolerated in TOLERATED_ERRORS {
            git.args(["-c", &format!("fetch.fsck.{tolerated}=ignore")]);
        }
        git.args([
            "fetch",
            "--quiet",
            "--atomic",
            "--no-write-fetch-head",
            "--update-shallow",
            "--no-auto-gc",
        ]);
        git.args([UPLOAD_PACK, "--"])
            .arg(&self.0)
            .args(["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"]);
        run_git(&mut git)
    }
}

fn run_git(git: &mut Command) -> anyhow::Result<()> {
    let out = git.output().context("cannot run git")?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(UserError::new(format!("git cannot copy the repository: {}", first_line(&said))).into())
}

fn first_line(said: &str) -> String {
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    piku_report::diagnostic::readable(line)
}

/// Chooses a branch in the output of `git ls-remote --symref`.
fn choose_branch(listed: &str, live: Option<&str>) -> Option<SourceBranch> {
    let lines = listed.lines().filter_map(|line| line.split_once('\t'));
    let head = lines.clone().find_map(|(target, name)| {
        target.strip_prefix("ref: refs/heads/").filter(|_| name == "HEAD").map(str::to_owned)
    });
    let mut branches: Vec<SourceBranch> = lines
        .filter_map(|(commit, name)| {
            let name = name.strip_prefix(HEADS)?.to_owned();
            Some(SourceBranch { name, commit: commit.to_owned() })
        })
        .collect();
    let rank = |branch: &SourceBranch| {
        let usual = [head.as_deref().unwrap_or("main"), "main", "master"];
        usual.iter().position(|usual| *usual == branch.name).unwrap_or(usual.len())
    };
    branches.sort_by_key(|branch| (Some(branch.commit.as_str()) != live, rank(branch), branch.name.clone()));
    branches.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_branch_comes_first() {
        let listed = "ref: refs/heads/master\tHEAD\n11\tHEAD\n33\trefs/heads/dev\n22\trefs/heads/main\n11\trefs/heads/master\n";
        let chosen = |live| choose_branch(listed, live).map(|branch| branch.name);
        assert_eq!(chosen(Some("33")).as_deref(), Some("dev"));
        assert_eq!(chosen(Some("44")).as_deref(), Some("master"));
        assert_eq!(chosen(None).as_deref(), Some("master"));
        assert_eq!(choose_branch("", None), None);
        assert_eq!(choose_branch("1\trefs/heads/z\n", None).map(|branch| branch.name).as_deref(), Some("z"));
    }
}
