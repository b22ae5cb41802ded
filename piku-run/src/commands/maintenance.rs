//! `maintenance APP on|off`: answers requests with a maintenance page. Instances keep running; the mode
//! survives deploys and reboots.

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;

use crate::cli::OnOff;
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::releases::current;

pub(super) fn run(root: &PikuRoot, app: &AppName, state: OnOff) -> anyhow::Result<()> {
    super::must_be_there(root, app)?;
    let mark = root.app(app).maintenance();
    match state {
        OnOff::On => {
            atomic_file::write(&mark, b"", 0o600)
                .with_context(|| format!("cannot write '{}'", mark.display()))?;
        }

        OnOff::Off => current::remove_dir(&mark)?,
    }
    client::ask(root, app, &SupervisorRequest::Route).context("it is stored, but nginx does not know it")?;
    progress::step(&match state {
        OnOff::On => format!("{app} is down for maintenance"),
        OnOff::Off => format!("{app} is up again"),
    });
    Ok(())
}
