//! The context of one app in one session, and the hook, run without a push.

#![expect(
    clippy::disallowed_methods,
    reason = "the directories of the tools and the root, which the installation names"
)]

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot, ROOT_VARIABLE};
use piku_report::user_error::TALK;

use crate::child_env;
use crate::push::push_options::PushOptions;
use crate::repository::branch::BranchTip;

/// Environment variable with the directory of `post-receive` and `piku`.
pub(crate) const SCRIPTS: &str = "PIKU_SCRIPTS";
/// Environment variable with the name of the app.
pub(crate) const APP: &str = "PIKU_APP";
/// Environment variable with the name of the key.
pub(crate) const KEY: &str = "PIKU_KEY";
/// Environment variable with a full ref name: this branch is deployed, whatever the deploy branch is.
pub(crate) const BRANCH: &str = "PIKU_BRANCH";

/// An app on this host and the key in whose name it is changed.
#[derive(Debug)]
pub(crate) struct AppContext<'a> {
    /// Absolute path.
    pub(crate) root: &'a PikuRoot,
    /// Absolute path of the directory of the scripts.
    pub(crate) scripts: &'a Path,
    pub(crate) app: &'a AppName,
    /// Name of the key, for the audit log and the records.
    pub(crate) key: &'a str,
}

impl AppContext<'_> {
    /// Returns the paths of the app.
    pub(crate) fn dir(&self) -> AppDir {
        self.root.app(self.app)
    }

    /// Returns a command with a clean environment and the variables that the hook relies on.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> anyhow::Result<Command> {
        let mut command = child_env::clean_command(program)?;
        command
            .env(ROOT_VARIABLE, self.root.path())
            .env(SCRIPTS, self.scripts)
            .env(APP, self.app.as_str())
            .env(KEY, self.key)
            .env(TALK, "deploy");
        Ok(command)
    }

    /// Runs the hook for an existing tip and redirects all its output to stderr. `branch` is the value of
    /// [`BRANCH`].
    pub(crate) fn run_hook(
        &self,
        tip: &BranchTip,
        branch: Option<&str>,
        options: PushOptions,
    ) -> anyhow::Result<ExitStatus> {
        let repo = self.dir().repo();
        let hook = self.scripts.join("post-receive");
        let mut command = self.command(&hook)?;
        let talk = io::stderr().as_fd().try_clone_to_owned().context("cannot copy stderr")?;
        command.current_dir(&repo).env("GIT_DIR", ".").stdin(Stdio::piped()).stdout(talk);
        if let Some(branch) = branch {
            command.env(BRANCH, branch);
        }
        options.set_env(&mut command);
        let mut child = command.spawn().with_context(|| format!("cannot run '{}'", hook.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A hook that exits before it reads stdin is reported by its exit status.
            let _ = writeln!(stdin, "{0} {0} {1}", tip.commit, tip.reference);
        }
        child.wait().with_context(|| format!("cannot wait for '{}'", hook.display()))
    }
}

/// Returns the absolute path of the directory of the scripts; by default `../lib/piku` beside the programs.
pub(crate) fn scripts_dir(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => child_env::tools_dir()?.join("../lib/piku"),
    };
    // The caller that needs a file in it reports a missing directory.
    std::path::absolute(&path)
        .map(|absolute| absolute.canonicalize().unwrap_or(absolute))
        .with_context(|| format!("bad directory of scripts '{}'", path.display()))
}
