//! `maintenance APP on|off`: whether requests reach the app. What runs goes on running; the mark outlives deploys and boots.

use anyhow::Context;
use piku_procfile::durable;
use piku_procfile::layout::Root;
use piku_procfile::name::AppName;

use crate::cli::Switch;
use crate::protocol::Request;
use crate::{client, place};

pub(super) fn run(root: &Root, app: &AppName, state: Switch) -> anyhow::Result<()> {
    super::must_be_there(root, app)?;
    let mark = root.app(app).maintenance();
    match state {
        Switch::On => {
            durable::write(&mark, b"", 0o600)
                .with_context(|| format!("cannot write '{}'", mark.display()))?;
        }

        Switch::Off => place::remove(&mark)?,
    }
    client::ask(root, app, &Request::Route).context("it is stored, but nginx does not know it")?;
    client::step(&match state {
        Switch::On => format!("{app} is down for maintenance"),
        Switch::Off => format!("{app} is up again"),
    });
    Ok(())
}
