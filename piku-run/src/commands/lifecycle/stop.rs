//! `stop APP`, `stop --all`.

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;

use crate::ipc::client;
use crate::ipc::fan_out::ask_all;
use crate::ipc::protocol::SupervisorRequest;

pub(in crate::commands) fn run(root: &PikuRoot, app: Option<&AppName>) -> anyhow::Result<()> {
    if let Some(app) = app {
        crate::commands::must_be_there(root, app)?;
        client::ask(root, app, &SupervisorRequest::Stop { stay: true })?;
        return Ok(());
    }
    // An app that is slow to stop, or fails to, does not delay the others.
    let apps = root.supervised().context("cannot list the apps")?;
    let stop = |app: &AppName| {
        let err = client::ask(root, app, &SupervisorRequest::Stop { stay: false }).err()?;
        Some(format!("{app}: {err:#}"))
    };
    let failed: Vec<String> = ask_all(&apps, stop).into_iter().flatten().collect();
    if failed.is_empty() { Ok(()) } else { Err(UserError::new(failed.join("\n")).into()) }
}
