//! `backup`: apps as one stream, and `restore` from it, on this machine or another.

mod host;
mod intake;
mod lacking;
mod planned_run;
mod quiet_app;
mod replaced_app;
mod repository;
mod restored_app;
mod saved_parts;
mod services;
mod verify;
mod write;

use std::io::{BufWriter, IsTerminal, stdin, stdout};
use std::process::ExitCode;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

pub(super) use host::restore_host;
pub(super) use intake::{ArchiveRequest, ExistingApp, restore_archive};
pub(super) use quiet_app::{deploy_published, resume_restore};
pub(super) use replaced_app::{open_last as open_last_replaced, remove_expired as remove_expired_replaced};
pub(super) use services::restore_services;
pub(crate) use write::{BackupRequest, BackupScope, WrittenBackup, write_backup};

use crate::backup_plans;
use crate::cli::{BackupAction, BackupArgs};
use crate::process::deadline::{Deadline, TimedPipe};

pub(super) fn run(root: &PikuRoot, typed: BackupArgs) -> anyhow::Result<ExitCode> {
    match typed.action {
        Some(BackupAction::Verify { format }) => {
            if stdin().is_terminal() {
                let what = "expected a backup on stdin";
                return Err(UserError::new(what).hint("piku backup:verify < FILE").code(USAGE).into());
            }
            return verify::run(stdin().lock(), format);
        }
        Some(BackupAction::List { problems: true, .. }) => {
            if !backup_plans::print_problems(root)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Some(BackupAction::List { format, .. }) => backup_plans::print_backups(root, format)?,
        Some(BackupAction::Run { due: true, .. }) => planned_run::run_due(root)?,
        Some(BackupAction::Run { plan, .. }) => {
            if !planned_run::run_now(root, plan.as_ref())? {
                return Ok(ExitCode::FAILURE);
            }
        }
        None => return print_backup(root, typed),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a backup to stdout.
fn print_backup(root: &PikuRoot, typed: BackupArgs) -> anyhow::Result<ExitCode> {
    let scope = match typed.app {
        _ if typed.all => BackupScope::All,
        _ if typed.host => BackupScope::Host,
        Some(app) => BackupScope::App(app),
        None => return Err(UserError::new("name an app, or --all, or --host").code(USAGE).into()),
    };
    if stdout().is_terminal() {
        let (words, name) = match &scope {
            BackupScope::App(app) => (app.as_str(), app.as_str()),
            BackupScope::All => ("--all", "all"),
            BackupScope::Host => ("--host", "host"),
        };
        return Err(UserError::new("the backup does not go to a terminal")
            .hint(format!("piku backup {words} > {name}.tar.zst"))
            .code(USAGE)
            .into());
    }
    let deadline = typed.max_hours.map_or(Deadline::default(), |hours| Deadline::after(hours.duration()));
    let request = BackupRequest { scope, with_services: !typed.without_services, is_strict: true, deadline };
    let output = TimedPipe { pipe: stdout().lock(), deadline };
    let written = write_backup(root, &request, BufWriter::with_capacity(1 << 16, output))?;
    for one in &written.lacking {
        progress::error(&one.describe());
    }
    Ok(if written.lacking.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tells what is in a part, if it may surprise.
fn tell_changed(app: &AppName) {
    progress::warning(&format!("some files of {app} changed while they were read"));
}
