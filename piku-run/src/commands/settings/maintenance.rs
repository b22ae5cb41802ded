//! `maintenance APP on|off`: answers requests with a maintenance page. The mode survives deploys and reboots.
//! No instance is restarted: requests that are under way and open connections go on.

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;

use crate::app_request;
use crate::cli::OnOff;
use crate::ipc::protocol::SupervisorRequest;
use crate::known_apps;
use crate::kubernetes;
use crate::releases::current;

pub(in crate::commands) fn run(root: &PikuRoot, app: &AppName, state: OnOff) -> anyhow::Result<()> {
    known_apps::must_be_there(root, app)?;
    let mark = root.app(app).maintenance();
    // The page of an app that has moved there can still be taken away.
    if state == OnOff::On || !root.app(app).is_in_maintenance() {
        kubernetes::check_not_in_cluster(
            root,
            app,
            "its requests do not pass here, where the page is",
            &format!("to end its pods: piku stop {app}"),
        )?;
    }
    match state {
        OnOff::On => {
            root.app(app)
                .create_marker(&mark)
                .with_context(|| format!("cannot write '{}'", mark.display()))?;
        }

        OnOff::Off => current::remove_dir(&mark)?,
    }
    app_request::ask(root, app, &SupervisorRequest::Route)
        .context("it is stored, but nginx does not know it")?;
    progress::step(&match state {
        OnOff::On => format!("{app} is down for maintenance"),
        OnOff::Off => format!("{app} is up again"),
    });
    Ok(())
}
