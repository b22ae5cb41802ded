//! Finishes a rollback of all hosts that was killed. What each host has tells whether its turn is over.

use anyhow::Context;
use piku_layout::deploys::change_record::{ChangeRecord, is_expired};
use piku_layout::deploys::unfinished_rollback::{RollbackTurn, UnfinishedRollback};
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::progress;

use super::host_releases::{HostReleases, ask_host_releases, ask_own_releases};
use super::host_request::ask_all;
use super::relay_order::RelayOrder;
use super::rollback_run::{AbsentHosts, HostState, RollbackRun, TurnFailure};
use crate::app_context::AppContext;
use crate::distribute::session_failure::{SessionFailure, SessionFailureKind};
use crate::distribute::ssh::EndedSession;

/// Reads the rollback that was killed. One that cannot be read is forgotten: it must not keep everyone from changing the app.
fn read(context: &AppContext<'_>) -> anyhow::Result<Option<UnfinishedRollback>> {
    let (root, app) = (context.root, context.app);
    match UnfinishedRollback::read(root, app) {
        Ok(record) => Ok(record),
        Err(err) => {
            progress::warning(&format!("a rollback of {app} was interrupted, and is forgotten: {err}"));
            end(context)?;
            Ok(None)
        }
    }
}

fn end(context: &AppContext<'_>) -> anyhow::Result<()> {
    UnfinishedRollback::end(context.root, context.app).context("cannot forget the rollback")
}

/// Gives a rollback up that has waited for its machines for too long. Returns what there is to record.
pub(crate) fn give_up_expired(context: &AppContext<'_>, to: &DeployTo) -> anyhow::Result<Option<String>> {
    let Some(record) = read(context)?.filter(|record| is_expired(record.at)) else { return Ok(None) };
    end(context)?;
    let is_left = |address: String| record.turns.iter().any(|turn| turn.address == Some(address.clone()));
    let left = to.machines.iter().filter(|machine| is_left(machine.to_string())).map(MachineAddress::name);
    let left: Vec<String> = left.collect();
    Ok(Some(format!("error: 'rollback' has not reached {} in a day, and is given up", left.join(", "))))
}

/// Finishes the rollback. Returns `None` if there is none, and true if a host has not rolled back.
pub(crate) fn finish(
    context: &AppContext<'_>,
    to: &DeployTo,
    order: &RelayOrder,
    absent: AbsentHosts,
) -> anyhow::Result<Option<bool>> {
    let Some(record) = read(context)? else { return Ok(None) };
    let states = ask_states(context, to, &record.turns);
    let is_absent = |(_, state): &(_, HostState)| match state {
        HostState::Unknown(failure) => failure.is_absence(),
        _ => false,
    };
    if absent == AbsentHosts::Awaited && !states.is_empty() && states.iter().all(is_absent) {
        return Ok(Some(false));
    }
    progress::step(&format!("Finishing the rollback of {} that was interrupted", context.app));
    let state = |turn: &RollbackTurn| {
        let known = states.iter().find(|(one, _)| one == turn);
        known.map_or(HostState::Changed, |(_, state)| state.clone())
    };
    RollbackRun::resume(context, to, order, record, absent)?.run(state).map(Some)
}

/// Asks the hosts of the turns that `host.yaml` still names.
fn ask_states(
    context: &AppContext<'_>,
    to: &DeployTo,
    turns: &[RollbackTurn],
) -> Vec<(RollbackTurn, HostState)> {
    let of = |address: Option<&str>| turns.iter().find(|turn| turn.address.as_deref() == address).cloned();
    let mut states = Vec::new();
    if let Some(turn) = of(None).filter(|_| to.here) {
        let ended = ask_own_releases(context);
        let read = ended.map_err(|err| failed(&err)).and_then(|ended| read_answer(&ended));
        states.push((turn.clone(), state_of(&turn, read)));
    }
    let machines: Vec<_> =
        to.machines.iter().filter(|one| of(Some(&one.to_string())).is_some()).cloned().collect();
    let answers = ask_all(&machines, |machine| {
        // This machine may be short of something for a moment.
        let absent = |err: anyhow::Error| TurnFailure { kind: SessionFailureKind::Away, ..failed(&err) };
        let ended = ask_host_releases(context, to, machine).map_err(absent)?;
        match SessionFailure::of(&ended, Some(machine), to) {
            Some(failure) => Err(failure.into()),
            None => read_answer(&ended),
        }
    });
    for (machine, read) in machines.iter().zip(answers) {
        states.extend(of(Some(&machine.to_string())).map(|turn| (turn.clone(), state_of(&turn, read))));
    }
    states
}

fn failed(err: &anyhow::Error) -> TurnFailure {
    TurnFailure::failed(format!("{err:#}"))
}

fn read_answer(ended: &EndedSession) -> Result<Option<HostReleases>, TurnFailure> {
    HostReleases::parse(&ended.answer).map_err(|err| failed(&err))
}

fn state_of(turn: &RollbackTurn, read: Result<Option<HostReleases>, TurnFailure>) -> HostState {
    match read {
        Err(failure) => HostState::Unknown(failure),
        Ok(Some(releases)) if releases.live.release == turn.leaves => HostState::Due,
        Ok(Some(releases)) if releases.is_after(turn) => HostState::IsBack,
        Ok(_) => HostState::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(live: &str) -> HostState {
        let turn = RollbackTurn { address: None, leaves: 4, returns_to: 3, commit: "b".to_owned() };
        let (release, origin, commit) = match live.split(' ').collect::<Vec<_>>()[..] {
            [release, origin, commit] => (release.parse::<u64>().unwrap(), origin, commit),
            _ => return state_of(&turn, Ok(None)),
        };
        let row = serde_json::json!([
            {"release": release, "commit": commit, "subject": "", "state": "live", "origin": origin}
        ]);
        state_of(&turn, Ok(HostReleases::parse(&row.to_string()).unwrap()))
    }

    #[test]
    fn what_a_host_has_tells_whether_its_turn_is_over() {
        assert_eq!(state("4 deploy a"), HostState::Due);
        assert_eq!(state("5 rollback b"), HostState::IsBack);
        // Someone else has changed it: by a rollback, a setting or a push.
        for live in ["3 deploy b", "5 rollback a", "5 config b", "5 deploy c", ""] {
            assert_eq!(state(live), HostState::Changed, "{live}");
        }
    }
}
