//! `rollback` of all hosts of an app. "Previous" is relative to what is live on each: so all are asked first, and only
//! those roll back that have the release to be left.

use std::process::{ExitCode, Stdio};

use anyhow::Context;
use piku_events::actor;
use piku_layout::deploys::missed_release::MissedRelease;
use piku_layout::git_history::short_commit;
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::progress;
use piku_report::user_error::UserError;
use serde::Deserialize;

use super::fan_out::{QUERY, ask_all, change_limit};
use super::host_output::OWN_NAME;
use super::own_settings::FollowedSettings;
use super::plan::ssh_line;
use super::relay_order::RelayOrder;
use super::{lock_app, own_command, request_words};
use crate::app_context::AppContext;
use crate::distribute::front::{self, HostChange};
use crate::distribute::missed;
use crate::distribute::session_failure::SessionFailure;
use crate::distribute::ssh::{self, EndedSession, SessionInput, TimeLimit};

/// A row of `releases --format json`.
#[derive(Debug, Clone, Deserialize)]
struct ReleaseEntry {
    release: u64,
    commit: String,
    subject: String,
    state: String,
    origin: String,
}

impl ReleaseEntry {
    /// Returns true if both are the same release on different hosts, each of which has its own numbers.
    fn is_same(&self, other: &Self) -> bool {
        // The subject of a rollback has the number of a release in it.
        self.commit == other.commit
            && self.origin == other.origin
            && (self.origin == "rollback" || self.subject == other.subject)
    }
}

/// The releases of a host: the live one, and the one to which it would go back.
#[derive(Debug, Clone)]
pub(super) struct HostReleases {
    live: ReleaseEntry,
    before: Option<ReleaseEntry>,
}

impl HostReleases {
    /// Returns the releases in the output of `releases`; `None` if none is live.
    pub(super) fn parse(output: &str) -> anyhow::Result<Option<Self>> {
        let rows: Vec<ReleaseEntry> =
            serde_json::from_str(output).context("its list of releases is not valid")?;
        let Some(live) = rows.iter().find(|row| row.state == "live").cloned() else { return Ok(None) };
        let is_kept = |row: &&ReleaseEntry| ["previous", "broken"].contains(&row.state.as_str());
        let before = rows.iter().filter(is_kept).filter(|row| row.release < live.release);
        let before = before.max_by_key(|row| row.release).cloned();
        Ok(Some(Self { live, before }))
    }

    fn is_same(&self, other: &Self) -> bool {
        let is_same_before = match (&self.before, &other.before) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            _ => false,
        };
        is_same_before && self.live.is_same(&other.live)
    }

    fn describe(&self) -> String {
        let of = |row: &ReleaseEntry| format!("{} ({})", short_commit(&row.commit), row.origin);
        let before = self.before.as_ref().map_or_else(|| "nothing".to_owned(), of);
        format!("{} after {before}", of(&self.live))
    }
}

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

/// Rolls back one host after the other.
pub(super) fn roll_back_all(context: &AppContext<'_>, to: &DeployTo) -> anyhow::Result<ExitCode> {
    let order = RelayOrder::wait(context, &actor::actor_name(), None)?;
    let mut lock = lock_app(context)?;
    let hosts = ask_releases(context, to)?;
    let choice = choose_hosts(&hosts).map_err(|what| {
        UserError::new(format!("{}: {what}", context.app)).hint(format!(
            "name the release on each machine that is to change, such as: {} rollback {} N ('releases' lists them)",
            to.machines.first().map(|machine| ssh_line(to, machine)).unwrap_or_default(),
            context.app
        ))
    })?;
    let before = choice.first().and_then(|at| hosts[*at].releases.as_ref()?.before.clone());
    missed::withdraw(context, to, |address| {
        let host = hosts.iter().position(|host| host.machine.is_some_and(|one| one.to_string() == address));
        host.is_some_and(|at| {
            let live = hosts[at].releases.as_ref().map(|releases| &releases.live);
            choice.contains(&at)
                || before.as_ref().is_some_and(|before| live.is_some_and(|live| live.is_same(before)))
        })
    })?;
    for (at, host) in hosts.iter().enumerate() {
        if host.failure.is_none() && !choice.contains(&at) {
            progress::step(&format!("{} has not that release, and is left as it is", host.name));
        }
    }
    let mut failed = hosts.iter().any(|host| host.failure.is_some() && !host.lacks_last);
    report_unknown(context, to, &hosts);
    let mut follows_settings = !to.here;
    let mut change = front_change(&choice, &hosts);
    for (turn, at) in choice.iter().enumerate() {
        let host = &hosts[*at];
        let number =
            host.releases.as_ref().and_then(|releases| releases.before.as_ref()).map(|row| row.release);
        let number = number.context("no release to go back to")?.to_string();
        if host.machine.is_none() {
            // The own command takes it itself.
            drop(lock.take());
        }
        let settings = host.machine.filter(|_| follows_settings);
        let settings = settings.map(|machine| (machine, FollowedSettings::of_host(context, to, machine)));
        let (failure, is_reached) = roll_back(context, to, host, &number, change)?;
        if host.machine.is_none() && failure.is_none() {
            lock = lock_app(context)?;
        }
        let Some(why) = failure else {
            // The settings of the front have gone back with the first one.
            change = HostChange::Restart;
            if let Some((machine, settings)) = settings {
                follows_settings = false;
                let others = settings_of_others(&choice, &hosts);
                let followed =
                    settings.and_then(|settings| settings.follow(context, to, machine, &order, others));
                if let Err(err) = followed {
                    failed = true;
                    progress::error(&format!(
                        "the settings for builds on this machine are as before: {err:#}"
                    ));
                    progress::detail(&format!("piku config {} shows them", context.app));
                }
            }
            continue;
        };
        failed = true;
        progress::error(&format!("{}: {why}", host.name));
        let left = if is_reached { &choice[turn..] } else { &choice[turn..=turn] };
        let names: Vec<_> = left.iter().map(|at| hosts[*at].name.as_str()).collect();
        progress::error(&format!("{} is not rolled back on {}", context.app, names.join(", ")));
        for at in left {
            progress::detail(&format!("there: {}", how_to_roll_back(context, to, &hosts[*at])));
        }
        if is_reached {
            break;
        }
    }
    drop(lock);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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

/// Returns the addresses of the hosts that have the settings of the release before by the rollback, and of those that
/// lack them.
fn settings_of_others(choice: &[usize], hosts: &[RollbackHost<'_>]) -> (Vec<String>, Vec<String>) {
    let address = |host: &RollbackHost<'_>| host.machine.map(ToString::to_string);
    let has = choice.iter().filter_map(|at| address(&hosts[*at]));
    let lacks = hosts.iter().filter(|host| host.failure.is_some()).filter_map(address);
    (has.collect(), lacks.collect())
}

/// Asks all hosts for their releases.
fn ask_releases<'a>(context: &AppContext<'_>, to: &'a DeployTo) -> anyhow::Result<Vec<RollbackHost<'a>>> {
    let args = ["--format", "json"].map(str::to_owned);
    let words = request_words(context, "releases", &args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let lack = MissedRelease::of(&context.dir()).machines();
    let ask = |machine: &MachineAddress| ask_host(machine, to, &words, QUERY);
    let mut hosts = Vec::new();
    if to.here {
        let mut command = own_command(context, "releases", &args);
        let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let out = out.context("cannot run the script of the verbs")?;
        let code = out.status.code().unwrap_or(1);
        let answer = String::from_utf8_lossy(&out.stdout).into_owned();
        let ended = EndedSession { code, answer, sent: 0, last: String::new() };
        hosts.push(RollbackHost::new(to, OWN_NAME.to_owned(), None, false, Ok(ended)));
    }
    for (machine, ended) in to.machines.iter().zip(ask_all(&to.machines, ask)) {
        let lacks_last = lack.iter().any(|one| one.address == machine.to_string());
        hosts.push(RollbackHost::new(to, machine.name(), Some(machine), lacks_last, ended));
    }
    Ok(hosts)
}

fn ask_host(
    machine: &MachineAddress,
    to: &DeployTo,
    words: &[&str],
    limit: TimeLimit,
) -> anyhow::Result<EndedSession> {
    ssh::run_on_host(&machine.name(), machine, to, words, SessionInput::Nothing, limit)
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

/// Rolls a host back to its release of this number. Returns why that has failed, and true if the host could be reached.
fn roll_back(
    context: &AppContext<'_>,
    to: &DeployTo,
    host: &RollbackHost<'_>,
    number: &str,
    change: HostChange,
) -> anyhow::Result<(Option<String>, bool)> {
    let args = [number.to_owned()];
    let Some(machine) = host.machine else {
        let status = own_command(context, "rollback", &args).stdin(Stdio::null()).status();
        let status = status.context("cannot run the script of the verbs")?;
        return Ok(((!status.success()).then(|| "failed".to_owned()), true));
    };
    let words = request_words(context, "rollback", &args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let roll_back = || match ask_host(machine, to, &words, change_limit(to)) {
        Ok(ended) => {
            let failure = SessionFailure::of(&ended, Some(machine), to);
            let is_reached = !failure.as_ref().is_some_and(SessionFailure::is_unreached);
            (failure.map(|failure| failure.why), is_reached)
        }
        Err(err) => (Some(format!("{err:#}")), true),
    };
    Ok(front::change_drained(context, to, &host.name, change, roll_back))
}

/// Returns the change that the front is told of for the first host: the settings of another deploy may be in the
/// release of another commit only.
fn front_change(choice: &[usize], hosts: &[RollbackHost<'_>]) -> HostChange {
    let releases = choice.first().and_then(|at| hosts[*at].releases.as_ref());
    let is_same = releases.is_some_and(|releases| {
        releases.before.as_ref().is_some_and(|before| before.commit == releases.live.commit)
    });
    if is_same { HostChange::Restart } else { HostChange::Rollback }
}

/// Returns the command that rolls back one host.
fn how_to_roll_back(context: &AppContext<'_>, to: &DeployTo, host: &RollbackHost<'_>) -> String {
    let before = host.releases.as_ref().and_then(|releases| releases.before.as_ref());
    let number = before.map_or_else(String::new, |row| format!(" {}", row.release));
    let command = format!("rollback {}{number}", context.app);
    match host.machine {
        Some(machine) => format!("{} {command}", ssh_line(to, machine)),
        None => format!("PIKU_HERE=1 piku {command}"),
    }
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
