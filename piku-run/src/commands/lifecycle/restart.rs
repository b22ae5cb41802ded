//! `restart APP [TYPE|INSTANCE]`: replaces the instances of the live release. Changes stored with `--no-restart`
//! take effect as a new release.

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;

use crate::cli;
use crate::commands::config;
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;

pub(in crate::commands) fn run(
    root: &PikuRoot,
    app: &AppName,
    target: cli::RestartTarget,
    if_stopped: bool,
) -> anyhow::Result<()> {
    crate::commands::must_be_there(root, app)?;
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
    client::ask(root, app, &SupervisorRequest::Restart { only, index })?;
    Ok(())
}
