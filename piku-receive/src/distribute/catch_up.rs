//! `catch-up`: sends the settings and the release that hosts have missed to those that are back. The daemon runs
//! it as long as there are any.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use piku_events::audit::{self, AuditedAction};
use piku_layout::app_lock;
use piku_layout::deploys::change_record::ChangeRecord;
use piku_layout::deploys::missed_release::{MissedReason, MissedRelease};
use piku_layout::deploys::unfinished_rollback::UnfinishedRollback;
use piku_layout::deploys::unfinished_verb::UnfinishedVerb;
use piku_layout::settings::DeployTo;
use piku_report::progress;
use piku_report::user_error::{BUSY, FAILED, UserError};

use super::settings_catch_up::{send_missed_settings, take_order};
use super::target_host::TargetHost;
use super::{IS_QUIET, for_each_healthy, front, missed, send_to_machines, targets};
use crate::app_context::AppContext;
use crate::deploy::lock::AppLock;
use crate::relay::relay_order::RelayOrder;
use crate::relay::rollback_run::AbsentHosts;
use crate::relay::{killed_rollback, killed_verb};

/// Name of the actor in records.
pub(crate) const ACTOR: &str = "catch-up";

/// Sends the release to those of its hosts that are back. Returns exit code 75 if the app is being changed.
pub(crate) fn catch_up(context: &AppContext<'_>) -> anyhow::Result<u8> {
    let app = context.dir();
    if app_lock::is_held(&app) {
        return Ok(BUSY);
    }
    // This machine and the others have deployed it, and keep it.
    let to = DeployTo { all_or_nothing: false, skip_down: true, ..super::deploy_to(context)? };
    // First: settings would make another release of the one to be left.
    if UnfinishedRollback::is_there(context.root, context.app) {
        let Some(order) = take_order(context)? else { return Ok(BUSY) };
        finish_rollback(context, &to, &order)?;
    }
    if finish_verb(context, &to)? == BUSY {
        return Ok(BUSY);
    }
    let code = send_missed_settings(context, &to)?;
    let missed = MissedRelease::of(&app);
    let waiting = missed.waiting();
    if waiting.is_empty() || code != 0 {
        return Ok(code);
    }
    let mut machines = find_machines_back(context, &to, &waiting)?;
    let left = waiting.iter().filter(|name| !to.machines.iter().any(|known| known.to_string() == **name));
    let left: Vec<String> = left.cloned().collect();
    if machines.is_empty() && left.is_empty() {
        return Ok(0);
    }
    let _lock = match AppLock::acquire_within(&app, ACTOR, Some(Duration::ZERO)) {
        Err(err) if err.downcast_ref::<UserError>().is_some() => return Ok(BUSY),
        lock => lock?,
    };
    if missed.waiting() != waiting {
        // Another deploy has replaced the release.
        return Ok(BUSY);
    }
    let mut lack = missed.machines();
    // Those that host.yaml does not name any more.
    lack.retain(|one| !left.contains(&one.address));
    let names: Vec<_> = machines.iter().map(|machine| machine.name.as_str()).collect();
    progress::step(&format!("{}: catching up on {}", context.app, names.join(", ")));
    for machine in &mut machines {
        match find_release(&missed, machine) {
            Some(folder) => machine.folder = folder,
            None => {
                machine.failure = Some("no release was built for its kind: push again".to_owned());
            }
        }
    }
    send_to_machines(context, &to, &mut machines, None)?;
    for machine in machines.iter().filter(|machine| !machine.may_succeed_later) {
        let address = machine.address.to_string();
        if machine.release.is_some() {
            lack.retain(|one| one.address != address);
        } else if let Some(one) = lack.iter_mut().find(|one| one.address == address) {
            one.reason = MissedReason::Failed;
        }
    }
    missed::replace_list(&missed, &lack)?;
    front::refresh(context, &to);
    for machine in machines.iter().filter(|machine| !machine.may_succeed_later) {
        let outcome = match (&machine.failure, machine.release) {
            (None, Some(release)) => format!("{}: release {release} is live", machine.name),
            (failure, _) => {
                format!("error: {}: {}", machine.name, failure.as_deref().unwrap_or("unchanged"))
            }
        };
        record_outcome(context, &outcome);
    }
    Ok(if machines.iter().any(TargetHost::has_failed) { FAILED } else { 0 })
}

/// Finishes a rollback that was killed, as far as its machines are back.
fn finish_rollback(context: &AppContext<'_>, to: &DeployTo, order: &RelayOrder) -> anyhow::Result<()> {
    let failed = killed_rollback::finish(context, to, order, AbsentHosts::Awaited)?;
    if UnfinishedRollback::is_there(context.root, context.app) {
        if let Some(outcome) = killed_rollback::give_up_expired(context, to)? {
            record_outcome(context, &outcome);
        }
        return Ok(());
    }
    if let Some(failed) = failed {
        let outcome = if failed { "error: a rollback is not finished" } else { "finished a rollback" };
        record_outcome(context, outcome);
    }
    Ok(())
}

/// Finishes a verb that was killed, as far as its machines are back. Returns exit code 75 if the app is being changed.
fn finish_verb(context: &AppContext<'_>, to: &DeployTo) -> anyhow::Result<u8> {
    if !UnfinishedVerb::is_there(context.root, context.app) {
        return Ok(0);
    }
    // A verb that was not killed holds the lock.
    if take_order(context)?.is_none() {
        return Ok(BUSY);
    }
    let Some(record) = killed_verb::read(context)? else { return Ok(0) };
    let is_known = |address: &String| to.machines.iter().any(|known| known.to_string() == *address);
    if killed_verb::waits_for_machines(&record) && record.machines.iter().all(is_known) {
        // Nobody waits for the lock while machines are away.
        if find_machines_back(context, to, &record.machines)?.is_empty() {
            return Ok(0);
        }
    }
    let Some(order) = take_order(context)? else { return Ok(BUSY) };
    if let Some(outcome) = killed_verb::resume(context, to, &order)? {
        record_outcome(context, &outcome);
    }
    Ok(0)
}

/// Returns those of the waiting machines that answer. One that is still away, or does not let this machine in, is nothing
/// to report.
pub(super) fn find_machines_back<'a>(
    context: &'a AppContext<'_>,
    to: &'a DeployTo,
    waiting: &[String],
) -> anyhow::Result<Vec<TargetHost<'a>>> {
    let is_waiting = to.machines.iter().filter(|machine| waiting.contains(&machine.to_string()));
    let mut machines: Vec<TargetHost<'_>> =
        is_waiting.map(|machine| TargetHost::new(context.app, machine, to)).collect();
    if machines.is_empty() {
        return Ok(machines);
    }
    let own = targets::read_own_facts(context)?;
    IS_QUIET.store(true, Ordering::Relaxed);
    for_each_healthy(&mut machines, |machine| machine.ask_facts(&own));
    IS_QUIET.store(false, Ordering::Relaxed);
    machines.retain(|machine| machine.failure.is_none());
    Ok(machines)
}

/// Records in the audit log what has become of a machine.
pub(super) fn record_outcome(context: &AppContext<'_>, outcome: &str) {
    let app = Some(context.app.as_str());
    audit::append_action(context.root, &AuditedAction { key: ACTOR, verb: ACTOR, app, outcome });
}

/// Returns the directory of the release for the platform of a host.
fn find_release(missed: &MissedRelease, machine: &TargetHost<'_>) -> Option<PathBuf> {
    let architecture = &machine.facts.as_ref()?.architecture;
    super::find_release(&missed.releases(), architecture)
}
