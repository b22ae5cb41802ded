//! `stop APP`, `stop --all`.

use anyhow::Context;
use piku_procfile::failure::Failure;
use piku_procfile::layout::Root;
use piku_procfile::name::AppName;

use crate::client;
use crate::protocol::Request;

pub(super) fn run(root: &Root, app: Option<&AppName>) -> anyhow::Result<()> {
    if let Some(app) = app {
        super::must_be_there(root, app)?;
        client::ask(root, app, &Request::Stop { stay: true })?;
        return Ok(());
    }
    let mut failed = Vec::new();
    for app in root.apps().context("cannot list the apps")? {
        // One that cannot be stopped does not keep the others running.
        if let Err(err) = client::ask(root, &app, &Request::Stop { stay: false }) {
            failed.push(format!("{app}: {err:#}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(failed.join("\n")).into()) }
}
