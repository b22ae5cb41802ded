//! The record of a renaming in progress, in the directory of the app. As long as it names the directory's own name as
//! the new one, the app does not start.

#![expect(clippy::disallowed_methods, reason = "a record in the app's own folder, which only piku writes")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use piku_events::actor;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot, ROOT_VARIABLE};
use piku_report::user_error::UserError;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RenameRecord {
    pub(crate) from: AppName,
    pub(crate) to: AppName,
    /// Everything has the new name; the app may start.
    #[serde(default)]
    pub(crate) is_complete: bool,
}

impl RenameRecord {
    /// Reads the record of an app that is being renamed, under its old or its new name.
    pub(crate) fn read(dir: &AppDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.renaming()).ok()?).ok()
    }

    /// Writes the record into the app's directory.
    pub(crate) fn write(&self, dir: &AppDir) -> anyhow::Result<()> {
        let path = dir.renaming();
        let text = serde_json::to_vec(self).context("cannot make JSON of it")?;
        atomic_file::write(&path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Starts the completion of an interrupted renaming, which the daemon reaps. One that has not moved the app, which
    /// still has the name `app`, is undone.
    pub(crate) fn resume(&self, root: &PikuRoot, app: &AppName, program: &Path) -> anyhow::Result<()> {
        let mut rename = Command::new(program);
        rename.args(["rename", self.from.as_str(), self.to.as_str()]);
        rename.args((self.to != *app).then_some("--undo"));
        rename.env(ROOT_VARIABLE, root.path()).env(actor::PROCESS, "daemon").stdin(Stdio::null());
        rename.spawn().map(drop).context("cannot run 'piku-run rename'")
    }
}

/// Checks that the app is not between two names.
pub(crate) fn check_not_renamed(dir: &AppDir) -> anyhow::Result<()> {
    let name = dir.path().file_name().unwrap_or_default().to_string_lossy();
    match RenameRecord::read(dir).filter(|record| record.to.as_str() == name && !record.is_complete) {
        None => Ok(()),
        Some(RenameRecord { from, to, .. }) => {
            let what = format!("{from} was being renamed to {to}, and that has not come to its end");
            Err(UserError::new(what).hint(format!("complete it: piku rename {from} {to}")).into())
        }
    }
}
