//! Work in an app that a power cut has interrupted, and that the daemon resumes when it starts.

#![expect(clippy::disallowed_methods, reason = "looks for marks that only piku writes")]

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use piku_events::actor;
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};

use super::log_error;
use crate::releases::current;
use crate::releases::rename_record::RenameRecord;

/// Resumes it. Returns true if that starts the app.
pub(super) fn resume(root: &PikuRoot, app: &AppName, program: &Path) -> bool {
    let dir = root.app(app);
    let report = |err: anyhow::Error| log_error(&format!("{app}: {err:#}"));
    if let Err(err) = current::remove_dir(&dir.paused()) {
        report(err);
    }
    if let Some(record) = RenameRecord::read(&dir) {
        if let Err(err) = record.resume(root, app, program) {
            report(err);
        }
        return true;
    }
    if dir.undeployed().exists() {
        if let Err(err) = resume_restore(root, app, program) {
            report(err);
        }
    }
    false
}

/// Starts the deploy of an app that a restore has made, which the daemon reaps.
fn resume_restore(root: &PikuRoot, app: &AppName, program: &Path) -> anyhow::Result<()> {
    let mut restore = Command::new(program);
    restore.args(["restore", app.as_str(), "--resume"]).env(ROOT_VARIABLE, root.path());
    restore.env(actor::PROCESS, "daemon").stdin(Stdio::null());
    restore.spawn().map(drop).context("cannot run 'piku-run restore'")
}
