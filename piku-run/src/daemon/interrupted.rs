//! Work in an app or a service that a power cut has interrupted, and that the daemon resumes when it starts.

#![expect(clippy::disallowed_methods, reason = "looks for marks that only piku writes")]

use std::fs;
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
        if let Err(err) = spawn(root, program, &["restore", app.as_str(), "--resume"]) {
            report(err);
        }
    }
    let is_marked = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut marks| marks.next().is_some());
    if is_marked(&root.service(app).restores()) {
        if let Err(err) = spawn(root, program, &["service", "recover", app.as_str()]) {
            report(err);
        }
    }
    false
}

/// Starts a command of piku-run that resumes it, and that the daemon reaps.
fn spawn(root: &PikuRoot, program: &Path, args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(args).env(ROOT_VARIABLE, root.path()).env(actor::PROCESS, "daemon").stdin(Stdio::null());
    command.spawn().map(drop).with_context(|| format!("cannot run 'piku-run {}'", args.join(" ")))
}
