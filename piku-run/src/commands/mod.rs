//! The subcommands, each a few lines over the modules that do the work.

mod config;
mod data;
mod deploy;
mod destroy;
mod exec;
mod gc;
mod logs;
mod maintenance;
mod ps;
mod restart;
mod rollback;
mod stop;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use piku_procfile::layout::{AppDir, ROOT_VARIABLE, Root};

use crate::cli::{Cli, Command};
use crate::protocol::Request;
use crate::{cli, client, daemon, drain, launch, protections, releases, start, supervisor, web};

/// The plain form of those that stay for long, or that are started for each worker: building the whole command line for them
/// would double what a supervisor has in memory, for as long as it lives.
pub(crate) fn own(words: &[OsString]) -> Option<anyhow::Result<ExitCode>> {
    let done = match words {
        [name, dashes, command @ ..] if name == launch::NAME && dashes == "--" => launch::run(command),
        [name, app] if name == supervisor::NAME => {
            let app = app.to_str()?.parse().ok()?;
            supervisor::run(&root_from_environment()?, &app)
        }
        [name, app] if name == drain::NAME => {
            let app = app.to_str()?.parse().ok()?;
            drain::run(&root_from_environment()?, &app)
        }
        [name] if name == web::NAME => return Some(web::run(&root_from_environment()?)),
        [name] if name == daemon::NAME => daemon::run(&root_from_environment()?),
        _ => return None,
    };
    Some(done.map(|()| ExitCode::SUCCESS))
}

/// As the command line would tell it; nothing where that takes a closer look.
fn root_from_environment() -> Option<Root> {
    let given = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
    Root::new(given).ok().filter(|root| root.path().is_absolute())
}

/// Does what was typed.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let root = || -> anyhow::Result<Root> {
        // Absolute: supervisors and workers have other working folders.
        let root = Root::new(cli.root.clone())?;
        let path = std::path::absolute(root.path()).context("cannot tell where this is")?;
        Ok(Root::new(Some(path))?)
    };
    match cli.command {
        Command::Daemon => daemon::run(&root()?)?,
        Command::Nginx { check: true } => web::check(&root()?)?,
        Command::Nginx { check: false } => return web::run(&root()?),
        Command::Certs { action: cli::Certs::Renew { app, force } } => {
            web::renew(&root()?, app.as_ref(), force)?;
        }
        Command::Data { app, action } => data::run(&root()?, &app, action)?,
        Command::Protections { record, format } => {
            if !protections::run(&root()?, record, format)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Maintenance { app, state } => maintenance::run(&root()?, &app, state)?,
        Command::Supervise { app } => supervisor::run(&root()?, &app)?,
        Command::Drain { app } => drain::run(&root()?, &app)?,
        Command::Deploy { app, release } => deploy::run(&root()?, &app, &release)?,
        Command::Scale { app, counts } => {
            let root = root()?;
            must_be_there(&root, &app)?;
            client::ask(&root, &app, &Request::Scale { counts: counts.into_iter().collect() })?;
        }
        Command::Restart { app, only } => restart::run(&root()?, &app, only)?,
        Command::Stop { app, all: _ } => stop::run(&root()?, app.as_ref())?,
        Command::Exec { app, command } => exec::run(&root()?, &app, &command)?,
        Command::Destroy { app, confirm } => destroy::run(&root()?, &app, &confirm)?,
        Command::Start(typed) => return start::run(typed),
        Command::Ps { app, format } => ps::run(&root()?, app.as_ref(), format)?,
        Command::Logs(typed) => logs::run(&root()?, typed)?,
        Command::Releases { app, format } => {
            let root = root()?;
            must_be_there(&root, &app)?;
            releases::print(&releases::list(&root.app(&app))?, format)?;
        }
        Command::Gc { app, dry_run, format } => gc::run(&root()?, app.as_ref(), dry_run, format)?,
        Command::Rollback { app, number } => rollback::run(&root()?, &app, number)?,
        Command::Config { app, format, action } => config::run(&root()?, &app, format, action)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The numbers of its releases, ascending.
fn numbers(dir: &AppDir) -> anyhow::Result<Vec<u64>> {
    dir.release_numbers().with_context(|| format!("cannot read '{}'", dir.releases().display()))
}

/// That the app is there, or that something of it may still run: its folder may have been removed by hand.
#[expect(clippy::disallowed_methods, reason = "looks for the app's own folders")]
fn must_be_there(root: &Root, app: &piku_procfile::name::AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    anyhow::ensure!(dir.path().is_dir() || dir.run().is_dir(), "there is no app '{app}'");
    Ok(())
}
