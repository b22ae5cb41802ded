//! `rollback` of all hosts of an app. "Previous" is relative to what is live on each: so all are asked first, and only
//! those roll back that have the release to be left.

use std::process::ExitCode;

use anyhow::Context;
use jiff::Timestamp;
use piku_events::actor;
use piku_layout::deploys::missed_release::MissedRelease;
use piku_layout::deploys::unfinished_rollback::{RollbackTurn, UnfinishedRollback};
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::progress;
use piku_report::user_error::UserError;

use super::host_output::OWN_NAME;
use super::host_releases::{HostReleases, ask_host_releases, ask_own_releases};
use super::host_request::ask_all;
use super::killed_verb::NextChange;
use super::plan::ssh_line;
use super::relay_order::RelayOrder;
use super::rollback_run::{AbsentHosts, HostState, RollbackRun};
use super::{killed_rollback, killed_verb, lock_app};
use crate::app_context::AppContext;
use crate::distribute::session_failure::SessionFailure;
use crate::distribute::ssh::EndedSession;

/// A host of the app.
struct RollbackHost<'a> {
    name: String,
    /// `None` for this host.
    machine: Option<&'a MachineAddress>,
    /// It lacks the release of the last deploy.
    lacks_last: bool,
    releases: Option<HostReleases>,
    /// Reason for which its releases are unknown.
    failure: Option<String>,
}

/// Rolls back one host after the other, or finishes a rollback that was killed: the hosts have different releases after
/// that one.
pub(super) fn roll_back_all(context: &AppContext<'_>, to: &DeployTo) -> anyhow::Result<ExitCode> {
    let order = RelayOrder::wait(context, &actor::actor_name(), None)?;
    killed_verb::finish_before(context, to, &order, NextChange::Rollback)?;
    if let Some(failed) = killed_rollback::finish(context, to, &order, AbsentHosts::Reported)? {
        return Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let lock = lock_app(context)?;
    let hosts = ask_releases(context, to)?;
    let choice = choose_hosts(&hosts).map_err(|what| {
        UserError::new(format!("{}: {what}", context.app)).hint(format!(
            "name the release on each machine that is to change, such as: {} rollback {} N ('releases' lists them)",
            to.machines.first().map(|machine| ssh_line(to, machine)).unwrap_or_default(),
            context.app
        ))
    })?;
    let record = plan_turns(to, &hosts, &choice).context("no release to go back to")?;
    for (at, host) in hosts.iter().enumerate() {
        if host.failure.is_none() && !choice.contains(&at) {
            progress::step(&format!("{} has not that release, and is left as it is", host.name));
        }
    }
    report_unknown(context, to, &hosts);
    let is_any_unknown = hosts.iter().any(|host| host.failure.is_some() && !host.lacks_last);
    let failed = RollbackRun::begin(context, to, &order, lock, record)?.run(|_| HostState::Due)?;
    Ok(if failed || is_any_unknown { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns the turns of the chosen hosts, with what a rollback that is killed needs in order to be finished.
fn plan_turns(to: &DeployTo, hosts: &[RollbackHost<'_>], choice: &[usize]) -> Option<UnfinishedRollback> {
    let address = |host: &RollbackHost<'_>| host.machine.map(ToString::to_string);
    let turns: Option<Vec<RollbackTurn>> =
        choice.iter().map(|at| hosts[*at].releases.as_ref()?.turn(address(&hosts[*at]))).collect();
    let first = hosts[*choice.first()?].releases.as_ref()?;
    let before = first.before.as_ref()?;
    let has_before = |host: &&RollbackHost<'_>| {
        host.releases.as_ref().is_some_and(|releases| releases.live.is_same(before))
    };
    Some(UnfinishedRollback {
        at: Timestamp::now(),
        turns: turns?,
        is_same_commit: before.commit == first.live.commit,
        current: hosts.iter().filter(has_before).filter_map(address).collect(),
        unknown: hosts.iter().filter(|host| host.failure.is_some()).filter_map(address).collect(),
        follows_settings: !to.here,
        settings: None,
    })
}

/// Reports the hosts whose releases are unknown.
fn report_unknown(context: &AppContext<'_>, to: &DeployTo, hosts: &[RollbackHost<'_>]) {
    for host in hosts {
        let Some(why) = &host.failure else { continue };
        progress::error(&format!("{} is left as it is: {why}", host.name));
        if let Some(machine) = host.machine.filter(|_| !host.lacks_last) {
            progress::detail(&format!(
                "if it has that release when it is back: {} rollback {}",
                ssh_line(to, machine),
                context.app
            ));
        }
    }
}

/// Asks all hosts for their releases.
fn ask_releases<'a>(context: &AppContext<'_>, to: &'a DeployTo) -> anyhow::Result<Vec<RollbackHost<'a>>> {
    let lack = MissedRelease::of(&context.dir()).machines();
    let mut hosts = Vec::new();
    if to.here {
        hosts.push(RollbackHost::new(to, OWN_NAME.to_owned(), None, false, Ok(ask_own_releases(context)?)));
    }
    let asked = ask_all(&to.machines, |machine| ask_host_releases(context, to, machine));
    for (machine, ended) in to.machines.iter().zip(asked) {
        let lacks_last = lack.iter().any(|one| one.address == machine.to_string());
        hosts.push(RollbackHost::new(to, machine.name(), Some(machine), lacks_last, ended));
    }
    Ok(hosts)
}

impl<'a> RollbackHost<'a> {
    fn new(
        to: &DeployTo,
        name: String,
        machine: Option<&'a MachineAddress>,
        lacks_last: bool,
        ended: anyhow::Result<EndedSession>,
    ) -> Self {
        let read = ended.and_then(|ended| match SessionFailure::of(&ended, machine, to) {
            None => HostReleases::parse(&ended.answer),
            Some(failure) => Err(anyhow::anyhow!(failure.why)),
        });
        let (releases, failure) = match read {
            Ok(releases) => (releases, None),
            Err(err) => (None, Some(format!("{err:#}"))),
        };
        Self { name, machine, lacks_last, releases, failure }
    }
}

/// Returns the indices of the hosts that roll back: those with the release that is live on all hosts which have not
/// missed the last deploy.
///
/// # Errors
/// Fails if these have different releases, or nothing to go back to.
fn choose_hosts(hosts: &[RollbackHost<'_>]) -> Result<Vec<usize>, String> {
    let known = || hosts.iter().filter(|host| host.releases.is_some());
    let has_last = known().any(|host| !host.lacks_last);
    let counts: Vec<_> = known().filter(|host| !(has_last && host.lacks_last)).collect();
    let Some(first) = counts.first().and_then(|host| host.releases.as_ref()) else {
        return Err("no machine answers with a live release".to_owned());
    };
    let is_same = |host: &RollbackHost<'_>| host.releases.as_ref().is_some_and(|one| one.is_same(first));
    if !counts.iter().all(|host| is_same(host)) {
        let of = |host: &&RollbackHost<'_>| {
            let releases = host.releases.as_ref().map(HostReleases::describe).unwrap_or_default();
            format!("{} {releases}", host.name)
        };
        let all: Vec<_> = counts.iter().map(of).collect();
        return Err(format!(
            "the machines have different releases, and none is rolled back: {}",
            all.join(", ")
        ));
    }
    if first.before.is_none() {
        return Err("there is no release before the live one".to_owned());
    }
    Ok((0..hosts.len()).filter(|at| is_same(&hosts[*at])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a host with the releases of these commits, the live one last.
    fn host(name: &str, lacks_last: bool, commits: &str) -> RollbackHost<'static> {
        let count = commits.split(' ').count();
        let rows: Vec<_> = commits
            .split(' ')
            .enumerate()
            .map(|(at, commit)| {
                let state = if at + 1 == count { "live" } else { "previous" };
                let (commit, origin) = commit.split_once(':').unwrap_or((commit, "deploy"));
                serde_json::json!({
                    "release": at + 1, "commit": commit, "subject": "", "state": state, "origin": origin,
                    "tree_of": null
                })
            })
            .collect();
        let answer = serde_json::Value::from(rows).to_string();
        RollbackHost::new(
            &DeployTo::default(),
            name.to_owned(),
            None,
            lacks_last,
            Ok(EndedSession { code: 0, answer, sent: 0, last: String::new() }),
        )
    }

    fn away(lacks_last: bool) -> RollbackHost<'static> {
        let last = "no route".to_owned();
        let ended = EndedSession { code: 1, answer: String::new(), sent: 0, last };
        RollbackHost::new(&DeployTo::default(), "pi-9".to_owned(), None, lacks_last, Ok(ended))
    }

    #[test]
    fn only_hosts_with_the_release_to_be_left_roll_back() {
        // Each has its own numbers.
        let all = [host("pi-1", false, "a b"), host("pi-2", false, "x a b"), away(false)];
        assert_eq!(choose_hosts(&all), Ok(vec![0, 1]));
        // One has missed the last deploy: its previous release is older than that of the others.
        let all = [host("pi-1", false, "a b"), host("pi-2", true, "x a"), away(true)];
        assert_eq!(choose_hosts(&all), Ok(vec![0]));
        let all = [host("pi-1", true, "a b"), host("pi-2", true, "a b")];
        assert_eq!(choose_hosts(&all), Ok(vec![0, 1]));
    }

    #[test]
    fn hosts_with_different_releases_are_left_alone() {
        // The second one has failed to roll back, or has refused the last deploy.
        for other in ["a b", "a", "x a", "a b x:config a:rollback"] {
            let all = [host("pi-1", false, "a b a:rollback"), host("pi-2", false, other)];
            let why = choose_hosts(&all).unwrap_err();
            assert!(why.contains("pi-1 a (rollback) after b (deploy), pi-2 "), "{why}");
        }
        assert!(choose_hosts(&[host("pi-1", false, "a")]).unwrap_err().contains("no release before"));
        assert!(choose_hosts(&[away(false)]).unwrap_err().contains("no machine answers"));
    }
}
