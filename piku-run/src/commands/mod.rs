//! The subcommands, each a few lines over the modules that do the work.

mod deploy;
mod destroy;
mod exec;
mod stop;

use std::process::ExitCode;

use anyhow::Context;
use piku_procfile::layout::Root;

use crate::cli::{Cli, Command};
use crate::protocol::Request;
use crate::{client, daemon, launch, supervisor};

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
            commands_app(&root, &app)?;
            client::ask(&root, &app, &Request::Scale { counts: counts.into_iter().collect() })?;
        }
        Command::Restart { app, only } => {
            let root = root()?;
            commands_app(&root, &app)?;
            client::ask(&root, &app, &Request::Restart { only })?;
        }
        Command::Stop { app, all: _ } => stop::run(&root()?, app.as_ref())?,
        Command::Exec { app, command } => exec::run(&root()?, &app, command)?,
        Command::Destroy { app, confirm } => destroy::run(&root()?, &app, &confirm)?,
        _ => anyhow::bail!("not there yet"),
    }
    Ok(ExitCode::SUCCESS)
}

/// That the app is there.
fn commands_app(root: &Root, app: &piku_procfile::name::AppName) -> anyhow::Result<()> {
    anyhow::ensure!(root.app(app).path().is_dir(), "there is no app '{app}'");
    Ok(())
}
