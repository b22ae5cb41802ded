//! The hook: what it finds around it, and how it is run when git has no reason to.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder of the tools and the root, which the installation names"
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

/// The name of the variable with the folder of `post-receive` and `piku`.
pub(crate) const SCRIPTS: &str = "PIKU_SCRIPTS";
/// The name of the variable with the app's name.
pub(crate) const APP: &str = "PIKU_APP";
/// The name of the variable with the key's name.
pub(crate) const KEY: &str = "PIKU_KEY";
/// Set to a whole ref name when that branch is to be deployed, whichever the deploy branch is.
pub(crate) const BRANCH: &str = "PIKU_BRANCH";

/// One app, its place, and on whose behalf things are done to it.
#[derive(Debug)]
pub(crate) struct AppContext<'a> {
    /// The root, an absolute path.
    pub(crate) root: &'a PikuRoot,
    /// The folder of the scripts, an absolute path.
    pub(crate) scripts: &'a Path,
    /// The app.
    pub(crate) app: &'a AppName,
    /// The key's name.
    pub(crate) key: &'a str,
}

impl AppContext<'_> {
    /// The app's folder.
    pub(crate) fn dir(&self) -> AppDir {
        self.root.app(self.app)
    }

    /// A command that finds what the hook is promised.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> anyhow::Result<Command> {
        let mut command = child_env::clean(program)?;
        command
            .env(ROOT_VARIABLE, self.root.path())
            .env(SCRIPTS, self.scripts)
            .env(APP, self.app.as_str())
            .env(KEY, self.key)
            .env(TALK, "deploy");
        Ok(command)
    }

    /// Runs the hook for a tip that is there already. All that it says goes to stderr. `branch` as [`BRANCH`].
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
        options.hand_to(&mut command);
        let mut child = command.spawn().with_context(|| format!("cannot run '{}'", hook.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A hook that has ended without reading it tells so by its exit.
            let _ = writeln!(stdin, "{0} {0} {1}", tip.commit, tip.reference);
        }
        child.wait().with_context(|| format!("cannot wait for '{}'", hook.display()))
    }
}

/// The folder of the scripts: as given, or beside the programs as the installer puts it. Absolute, since it is linked to.
pub(crate) fn scripts(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => child_env::tools()?.join("../lib/piku"),
    };
    // One that is not there is told of by whoever needs something in it.
    std::path::absolute(&path)
        .map(|absolute| absolute.canonicalize().unwrap_or(absolute))
        .with_context(|| format!("bad folder of scripts '{}'", path.display()))
}
