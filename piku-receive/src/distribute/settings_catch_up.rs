//! Settings for machines that were away when the others got them. They come before the release that such a machine
//! lacks, and before it gets requests from the front again.

use std::time::Duration;

use anyhow::Context;
use piku_layout::deploys::change_record::ChangeRecord;
use piku_layout::deploys::missed_release::MissedRelease;
use piku_layout::deploys::missed_settings::{MachineChanges, MissedChange, MissedSettings};
use piku_layout::deploys::unfinished_change::UnfinishedChange;
use piku_layout::paths::AppDir;
use piku_layout::settings::DeployTo;
use piku_report::progress;
use piku_report::user_error::{BUSY, FAILED, advice};

use super::catch_up::{ACTOR, find_machines_back, record_outcome};
use super::front;
use super::ssh::SessionInput;
use super::target_host::TargetHost;
use crate::app_context::AppContext;
use crate::relay::relay_order::RelayOrder;
use crate::session::request::RELAYED;

/// Sends the machines that are back what they lack. Returns exit code 75 if the app is being changed.
pub(super) fn send_missed_settings(context: &AppContext<'_>, to: &DeployTo) -> anyhow::Result<u8> {
    let app = context.dir();
    if UnfinishedChange::is_there(context.root, context.app) && take_order(context)?.is_none() {
        return Ok(BUSY);
    }
    let waiting = read_missed(&app)?.waiting();
    let has_left = |address: &String| !to.machines.iter().any(|known| known.to_string() == *address);
    let mut machines = find_machines_back(context, to, &waiting)?;
    if machines.is_empty() && !waiting.iter().any(has_left) {
        return Ok(0);
    }
    let Some(_order) = take_order(context)? else { return Ok(BUSY) };
    // Changes may have reached them meanwhile.
    let mut missed = read_missed(&app)?;
    let waiting = missed.waiting();
    for address in waiting.iter().filter(|address| has_left(address)) {
        missed.replace(address, None);
    }
    let waits_for_release = MissedRelease::of(&app).waiting();
    let mut code = 0;
    for machine in &mut machines {
        let address = machine.address.to_string();
        let Some(lacked) = missed.of(&address).filter(|_| waiting.contains(&address)).cloned() else {
            continue;
        };
        progress::step(&format!("{}: settings for {}", context.app, machine.name));
        // Its next release takes them up.
        let restarts = !waits_for_release.contains(&address);
        let outcome = match send_changes(context, machine, &lacked, restarts) {
            Ok(()) => {
                missed.replace(&address, None);
                format!("{}: has the settings that it lacked", machine.name)
            }
            Err(err) => {
                machine.fail(&err);
                if machine.may_succeed_later {
                    continue;
                }
                code = FAILED;
                missed.replace(&address, Some(MachineChanges { reason: MissedChange::Refused, ..lacked }));
                format!("error: {}: {err:#}", machine.name)
            }
        };
        record_outcome(context, &outcome);
    }
    missed.write(&app).context("cannot note what machines lack")?;
    front::refresh(context, to);
    Ok(code)
}

/// Takes the lock of changes, and notes what a killed one has left; `None` if another process is changing the app.
pub(super) fn take_order(context: &AppContext<'_>) -> anyhow::Result<Option<RelayOrder>> {
    match RelayOrder::wait(context, ACTOR, Some(Duration::ZERO)) {
        Err(err) if advice(&err).1 == BUSY => Ok(None),
        order => order.map(Some),
    }
}

fn read_missed(app: &AppDir) -> anyhow::Result<MissedSettings> {
    MissedSettings::read(app).context("cannot read what machines lack")
}

/// Sends the values that are set, and then the names of those that are removed.
fn send_changes(
    context: &AppContext<'_>,
    machine: &TargetHost<'_>,
    lacked: &MachineChanges,
    restarts: bool,
) -> anyhow::Result<()> {
    let app = context.app.as_str();
    let set: serde_json::Map<String, serde_json::Value> = lacked
        .changes
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.clone()?.into())))
        .collect();
    let option: &[&str] = if restarts { &[] } else { &["--no-restart"] };
    let send = |words: &[&str], input: SessionInput<'_>| -> anyhow::Result<()> {
        let ended = machine.run_session(words, input, machine.work())?;
        machine.check_success(ended).map(drop)
    };
    if !set.is_empty() {
        let text = serde_json::to_vec(&set).context("cannot encode the settings as JSON")?;
        send(&[&[RELAYED, "config:import", app], option].concat(), SessionInput::Text(&text))?;
    }
    let removed = lacked.changes.iter().filter(|(_, value)| value.is_none());
    let removed: Vec<&str> = removed.map(|(name, _)| name.as_str()).collect();
    if removed.is_empty() {
        return Ok(());
    }
    send(&[&[RELAYED, "config:unset", app], option, &removed].concat(), SessionInput::Nothing)
}
