//! Subcommands, each a thin layer over other modules.

mod config;
mod data;
mod deploy;
mod destroy;
mod exec;
mod gc;
mod logs;
mod maintenance;
mod ps;
mod ps_table;
mod restart;
mod rollback;
mod stop;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use piku_layout::paths::{AppDir, PikuRoot, ROOT_VARIABLE};

use crate::cli::{RunCli, RunCommand};
use crate::instance::launch;
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::{cli, daemon, log_forwarding, nginx, protections, releases, start, supervisor};

/// Runs a subcommand that stays for long or is started for each instance, without clap: building the whole
/// command line would double the memory of a supervisor for as long as it lives.
pub(crate) fn own(words: &[OsString]) -> Option<anyhow::Result<ExitCode>> {
    let done = match words {
        [name, dashes, command @ ..] if name == launch::NAME && dashes == "--" => launch::run(command),
        [name, app] if name == supervisor::NAME => {
            let app = app.to_str()?.parse().ok()?;
            supervisor::run(&root_from_environment()?, &app)
        }
        [name, app] if name == log_forwarding::NAME => {
            let app = app.to_str()?.parse().ok()?;
            log_forwarding::run(&root_from_environment()?, &app)
        }
        [name] if name == nginx::NAME => return Some(nginx::run(&root_from_environment()?)),
        [name] if name == daemon::NAME => daemon::run(&root_from_environment()?),
        _ => return None,
    };
    Some(done.map(|()| ExitCode::SUCCESS))
}

/// Returns the root directory that clap would find; `None` if that needs clap.
fn root_from_environment() -> Option<PikuRoot> {
    let given = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
    PikuRoot::new(given).ok().filter(|root| root.path().is_absolute())
}

/// Runs the subcommand.
pub(crate) fn run(cli: RunCli) -> anyhow::Result<ExitCode> {
    let root = || -> anyhow::Result<PikuRoot> {
        // Absolute, since supervisors and instances have other working directories.
        let root = PikuRoot::new(cli.root.clone())?;
        let path = std::path::absolute(root.path()).context("cannot tell where this is")?;
        Ok(PikuRoot::new(Some(path))?)
    };
    match cli.command {
        RunCommand::Daemon => daemon::run(&root()?)?,
        RunCommand::Nginx { check: true } => nginx::check_config(&root()?)?,
        RunCommand::Nginx { check: false } => return nginx::run(&root()?),
        RunCommand::Certs { action: cli::CertsCommand::Renew { app, force } } => {
            nginx::renew_certificates(&root()?, app.as_ref(), force)?;
        }
        RunCommand::Data { app, action } => data::run(&root()?, &app, action)?,
        RunCommand::Protections { record, format } => {
            if !protections::run(&root()?, record, format)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        RunCommand::Maintenance { app, state } => maintenance::run(&root()?, &app, state)?,
        RunCommand::Supervise { app } => supervisor::run(&root()?, &app)?,
        RunCommand::Drain { app } => log_forwarding::run(&root()?, &app)?,
        RunCommand::Deploy { app, release } => deploy::run(&root()?, &app, &release)?,
        RunCommand::Scale { app, counts } => {
            let root = root()?;
            must_be_there(&root, &app)?;
            client::ask(&root, &app, &SupervisorRequest::Scale { counts: counts.into_iter().collect() })?;
        }
        RunCommand::Restart { app, only } => restart::run(&root()?, &app, only)?,
        RunCommand::Stop { app, all: _ } => stop::run(&root()?, app.as_ref())?,
        RunCommand::Exec { app, command } => exec::run(&root()?, &app, &command)?,
        RunCommand::Destroy { app, confirm } => destroy::run(&root()?, &app, &confirm)?,
        RunCommand::Start(typed) => return start::run(typed),
        RunCommand::Ps { app, format } => ps::run(&root()?, app.as_ref(), format)?,
        RunCommand::Logs(typed) => logs::run(&root()?, typed)?,
        RunCommand::Releases { app, format } => {
            let root = root()?;
            must_be_there(&root, &app)?;
            releases::print_releases(&releases::list_releases(&root.app(&app))?, format)?;
        }
        RunCommand::Gc { app, dry_run, format } => gc::run(&root()?, app.as_ref(), dry_run, format)?,
        RunCommand::Rollback { app, number } => rollback::run(&root()?, &app, number)?,
        RunCommand::Config { app, format, action } => config::run(&root()?, &app, format, action)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the numbers of its releases, ascending.
fn join_numbers(dir: &AppDir) -> anyhow::Result<Vec<u64>> {
    dir.release_numbers().with_context(|| format!("cannot read '{}'", dir.releases().display()))
}

/// Fails unless the app exists, or something of it may still run although its directory was removed by
/// hand.
#[expect(clippy::disallowed_methods, reason = "looks for the app's own folders")]
fn must_be_there(root: &PikuRoot, app: &piku_layout::name::AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    anyhow::ensure!(dir.path().is_dir() || dir.run().is_dir(), "there is no app '{app}'");
    Ok(())
}
