//! The subcommands, each a few lines over the modules that do the work.

mod config;
mod deploy;
mod destroy;
mod exec;
mod logs;
mod ps;
mod rollback;
mod stop;

use std::process::ExitCode;

use anyhow::Context;
use piku_procfile::layout::Root;

use crate::cli::{Cli, Command};
use crate::protocol::Request;
use crate::{client, daemon, launch, releases, start, supervisor};

/// Does what was typed.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let root = || -> anyhow::Result<Root> {
        // Absolute: supervisors and workers have other working folders.
        let root = Root::new(cli.root.clone())?;
        let path = std::path::absolute(root.path()).context("cannot tell where this is")?;
        Ok(Root::new(Some(path))?)
    };
    match cli.command {
        Command::Launch { command } => launch::run(&command)?,
        Command::Daemon => daemon::run(&root()?)?,
        Command::Supervise { app } => supervisor::run(&root()?, &app)?,
        Command::Deploy { app, release } => deploy::run(&root()?, &app, &release)?,
        Command::Scale { app, counts } => {
            let root = root()?;
            must_be_there(&root, &app)?;
            client::ask(&root, &app, &Request::Scale { counts: counts.into_iter().collect() })?;
        }
        Command::Restart { app, only } => {
            let root = root()?;
            must_be_there(&root, &app)?;
            client::ask(&root, &app, &Request::Restart { only })?;
        }
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
        Command::Rollback { app, number } => rollback::run(&root()?, &app, number)?,
        Command::Config { app, format, action } => config::run(&root()?, &app, format, action)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// That the app is there.
fn must_be_there(root: &Root, app: &piku_procfile::name::AppName) -> anyhow::Result<()> {
    anyhow::ensure!(root.app(app).path().is_dir(), "there is no app '{app}'");
    Ok(())
}
