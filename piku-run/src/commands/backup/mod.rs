//! `backup`: apps as one stream, and `restore` from it, on this machine or another.

mod host;
mod intake;
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
pub(super) use replaced_app::{open_last as open_last_replaced, remove_expired as remove_expired_replaced};
pub(super) use services::restore_services;
pub(crate) use write::{BackupScope, write_backup};

use crate::backup_plans;
use crate::cli::{BackupAction, BackupArgs};

pub(super) fn run(root: &PikuRoot, typed: BackupArgs) -> anyhow::Result<ExitCode> {
    match typed.action {
        Some(BackupAction::Verify { format }) => {
            if stdin().is_terminal() {
                let what = "expected a backup on stdin";
                return Err(UserError::new(what).hint("piku backup:verify < FILE").code(USAGE).into());
            }
            verify::run(stdin().lock(), format)?;
        }
        Some(BackupAction::List { problems: true, .. }) => {
            if !backup_plans::print_problems(root)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Some(BackupAction::List { format, .. }) => backup_plans::print_backups(root, format)?,
        Some(BackupAction::Run { due: true, .. }) => backup_plans::run_due(root)?,
        Some(BackupAction::Run { plan, .. }) => {
            if !backup_plans::run_now(root, plan.as_ref())? {
                return Ok(ExitCode::FAILURE);
            }
        }
        None if typed.all => print_backup(root, &BackupScope::All, !typed.without_services)?,
        None if typed.host => print_backup(root, &BackupScope::Host, !typed.without_services)?,
        None => match typed.app {
            Some(app) => print_backup(root, &BackupScope::App(app), !typed.without_services)?,
            None => return Err(UserError::new("name an app, or --all, or --host").code(USAGE).into()),
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a backup to stdout.
fn print_backup(root: &PikuRoot, scope: &BackupScope, with_services: bool) -> anyhow::Result<()> {
    if stdout().is_terminal() {
        let (words, name) = match scope {
            BackupScope::App(app) => (app.as_str(), app.as_str()),
            BackupScope::All => ("--all", "all"),
            BackupScope::Host => ("--host", "host"),
        };
        return Err(UserError::new("the backup does not go to a terminal")
            .hint(format!("piku backup {words} > {name}.tar.zst"))
            .code(USAGE)
            .into());
    }
    write_backup(root, scope, with_services, BufWriter::with_capacity(1 << 16, stdout().lock()))?;
    Ok(())
}

/// Tells what is in a part, if it may surprise.
fn tell_changed(app: &AppName) {
    progress::warning(&format!("some files of {app} changed while they were read"));
}
