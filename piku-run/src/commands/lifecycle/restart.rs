//! `restart APP [TYPE|INSTANCE]`: replaces the instances of the live release. Changes stored with `--no-restart`
//! take effect as a new release. `cron-run APP JOB` runs a job of it.

use piku_layout::name::{AppName, ProcessName};
use piku_layout::paths::PikuRoot;
use piku_procfile::procfile::ProcessKind;
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::app_request;
use crate::cli;
use crate::commands::config;
use crate::instance::environment::ReleaseContext;
use crate::ipc::protocol::SupervisorRequest;
use crate::known_apps;
use crate::releases::current;

pub(in crate::commands) fn run(
    root: &PikuRoot,
    app: &AppName,
    target: cli::RestartTarget,
    if_stopped: bool,
) -> anyhow::Result<()> {
    known_apps::must_be_there(root, app)?;
    if if_stopped && !root.app(app).is_stopped() {
        progress::step(&format!("{app} is not stopped"));
        return Ok(());
    }
    let cli::RestartTarget { only, index } = target;
    if only.is_none() {
        if config::take_up_postponed(root, app)? {
            return Ok(());
        }
    } else if let Some((live, _, differs)) = config::postponed(&root.app(app))? {
        // A release has exactly one config.
        progress::detail(&format!(
            "as in release {live}; for what was stored since ({differs}) restart all: piku restart {app}"
        ));
    }
    app_request::ask(root, app, &SupervisorRequest::Restart { only, index })?;
    Ok(())
}

/// Runs a cron job outside of its schedule.
///
/// # Errors
/// Fails if the live release has no such job, or is running it.
pub(in crate::commands) fn run_cron(root: &PikuRoot, app: &AppName, job: ProcessName) -> anyhow::Result<()> {
    known_apps::must_be_there(root, app)?;
    let Some(number) = current::live_release(&root.app(app))? else {
        let what = format!("{app} has no release");
        return Err(UserError::new(what).hint("push the app first").into());
    };
    let release = ReleaseContext::read(root, app, number)?.release;
    let crons = release.processes.iter();
    let crons = crons.filter(|(name, command)| ProcessKind::classify(name, command) == ProcessKind::Cron);
    let names: Vec<&str> = crons.map(|(name, _)| name.as_str()).collect();
    if !names.contains(&job.as_str()) {
        let what = format!("{app} has no cron job '{job}'");
        let hint = match names.as_slice() {
            [] => "a line such as 'cron-nightly: 0 3 * * * COMMAND' in the Procfile makes one".to_owned(),
            names => format!("it has: {}", names.join(", ")),
        };
        return Err(UserError::new(what).hint(hint).into());
    }
    app_request::ask(root, app, &SupervisorRequest::Restart { only: Some(job), index: None })
}
