//! Finishes a verb on several hosts that was killed: on those that have not answered, unless they tell of a later change
//! of the same kind.

use anyhow::Context;
use piku_layout::deploys::change_record::{ChangeRecord, age, is_expired};
use piku_layout::deploys::unfinished_verb::UnfinishedVerb;
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::progress;
use serde::Deserialize;

use super::host_output::HostResult;
use super::host_request::{QUERY, ask_all};
use super::host_verb::HostVerb;
use super::noted_verb::NotedVerb;
use super::plan::{FanOut, OwnTurn, RelayPlan, plan_verb};
use super::relay_order::RelayOrder;
use super::rollback_run::AbsentHosts;
use super::{own_state, request_words};
use crate::app_context::AppContext;
use crate::distribute::session_failure::{SessionFailure, SessionFailureKind};
use crate::distribute::ssh::{self, SessionInput};

/// Verbs after which an app runs, or is no longer what it was.
const RENEWING: [&str; 6] = ["push", "deploy", "release:deploy", "create", "destroy", "restore"];

/// The change before which a verb is finished.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NextChange<'a> {
    /// A verb with its arguments.
    Verb(&'a str, &'a [String]),
    Rollback,
    /// A push or another deploy.
    Deploy,
}

impl NextChange<'_> {
    /// Returns true if this change makes the verb pointless, or contradicts it.
    fn replaces(self, record: &UnfinishedVerb) -> bool {
        let Self::Verb(verb, args) = self else { return record.verb == "destroy" };
        match (record.verb.as_str(), verb) {
            ("destroy", _)
            | (_, "destroy")
            | ("stop", "start" | "restart")
            | ("start" | "restart", "stop")
            | ("maintenance:on", "maintenance:off")
            | ("maintenance:off", "maintenance:on") => true,
            ("ps:scale", "ps:scale") => {
                let scaled = scaled_types(args);
                scaled_types(&record.args).iter().all(|kind| scaled.contains(kind))
            }
            (old, new) => old == new && record.args == args,
        }
    }
}

/// Returns the process types in the arguments of `ps:scale`.
fn scaled_types(args: &[String]) -> Vec<&str> {
    let counts = args.iter().filter(|arg| !arg.starts_with('-'));
    counts.filter_map(|arg| Some(arg.split_once('=')?.0)).collect()
}

/// Reads the verb that was killed. One that cannot be read is forgotten: it must not keep everyone from changing the app.
pub(crate) fn read(context: &AppContext<'_>) -> anyhow::Result<Option<UnfinishedVerb>> {
    match UnfinishedVerb::read(context.root, context.app) {
        Ok(record) => Ok(record),
        Err(err) => {
            progress::warning(&format!(
                "a verb about {} was interrupted, and is forgotten: {err}",
                context.app
            ));
            end(context)?;
            Ok(None)
        }
    }
}

fn end(context: &AppContext<'_>) -> anyhow::Result<()> {
    UnfinishedVerb::end(context.root, context.app).context("cannot forget the verb that was interrupted")
}

/// Returns true if there is nothing to do until a machine is back.
pub(crate) fn waits_for_machines(record: &UnfinishedVerb) -> bool {
    let is_own_next = record.here && !["destroy", "restore"].contains(&record.verb.as_str());
    !record.machines.is_empty() && !is_own_next && !is_expired(record.at)
}

/// Finishes what was killed before another change begins, or forgets it if that one takes its place. What fails is
/// reported, and not tried again.
pub(crate) fn finish_before(
    context: &AppContext<'_>,
    to: &DeployTo,
    order: &RelayOrder,
    next: NextChange<'_>,
) -> anyhow::Result<()> {
    let Some(record) = read(context)? else { return Ok(()) };
    if next.replaces(&record) {
        if record.verb == "destroy" && !matches!(next, NextChange::Verb("destroy", _)) {
            progress::warning(&format!(
                "'destroy {}' was interrupted, and is given up: {} may have the app still",
                context.app,
                names(to, &record.machines).join(", ")
            ));
        }
        return end(context);
    }
    let verb = record.verb.clone();
    if let Err(err) = finish(context, to, order, record, AbsentHosts::Reported) {
        progress::error(&format!("'{verb} {}' is not finished: {err:#}", context.app));
    }
    end(context)
}

/// Finishes what was killed as far as its machines are back. Returns what there is to record.
pub(crate) fn resume(
    context: &AppContext<'_>,
    to: &DeployTo,
    order: &RelayOrder,
) -> anyhow::Result<Option<String>> {
    let Some(record) = read(context)? else { return Ok(None) };
    let verb = record.verb.clone();
    if is_expired(record.at) {
        end(context)?;
        let left = names(to, &record.machines).join(", ");
        return Ok(Some(format!("error: '{verb}' has not reached {left} in a day, and is given up")));
    }
    let finished = finish(context, to, order, record, AbsentHosts::Awaited)?;
    Ok(match finished {
        FinishedVerb { failed, .. } if !failed.is_empty() => {
            Some(format!("error: '{verb}' is not finished: {}", failed.join("; ")))
        }
        FinishedVerb { is_left: false, .. } => Some(format!("finished '{verb}'")),
        _ => None,
    })
}

/// Returns the names of the machines with these addresses.
fn names(to: &DeployTo, addresses: &[String]) -> Vec<String> {
    let is_one = |machine: &&MachineAddress| addresses.contains(&machine.to_string());
    to.machines.iter().filter(is_one).map(MachineAddress::name).collect()
}

/// Result of finishing a verb.
struct FinishedVerb {
    /// Hosts that have failed, with the reasons.
    failed: Vec<String>,
    /// Machines are waited for.
    is_left: bool,
}

/// State of a machine before the verb is executed on it.
enum VerbState {
    Due,
    /// It has executed the verb, or has been changed since then.
    Over,
    Absent(HostResult),
}

fn finish(
    context: &AppContext<'_>,
    to: &DeployTo,
    order: &RelayOrder,
    record: UnfinishedVerb,
    absent: AbsentHosts,
) -> anyhow::Result<FinishedVerb> {
    let (verb, args) = (record.verb.clone(), record.args.clone());
    let RelayPlan::Each(how) = plan_verb(context.app, to, own_state(context), &verb, &args) else {
        // host.yaml says something else by now.
        end(context)?;
        return Ok(FinishedVerb { failed: Vec::new(), is_left: false });
    };
    let is_own_left = record.here;
    let known = to.machines.iter().filter(|machine| record.machines.contains(&machine.to_string()));
    let known: Vec<MachineAddress> = known.cloned().collect();
    let states = ask_all(&known, |machine| ask_state(context, to, machine, &record));
    let noted = NotedVerb::resume(context, record);
    let (mut due, mut results) = (Vec::new(), Vec::new());
    for (machine, state) in known.iter().zip(states) {
        match state {
            VerbState::Due => due.push(machine.clone()),
            VerbState::Over => noted.strike(machine),
            VerbState::Absent(result) => results.push(result),
        }
    }
    // This host comes after the machines, and deploys on them in a restore.
    let waits = how.here == OwnTurn::Last && absent == AbsentHosts::Awaited && !results.is_empty();
    let here = if is_own_left && !waits { how.here } else { OwnTurn::None };
    if !due.is_empty() || here != OwnTurn::None {
        progress::step(&format!("Finishing '{verb} {}' that was interrupted", context.app));
        let to = &DeployTo { machines: due, ..to.clone() };
        let how = FanOut { here, reads_stdin: false, ..how };
        let host_verb = HostVerb { context, to, verb: &verb, args: &args, how, input: &[] };
        match host_verb.execute(order, Some(&noted))? {
            Some(done) => results.extend(done.results),
            None => results.push(HostResult::failed_here()),
        }
    }
    let (mut failed, mut left) = (Vec::new(), Vec::new());
    for result in results {
        let Some(why) = result.failure else { continue };
        if result.is_away && absent == AbsentHosts::Awaited {
            left.push(result.name);
        } else {
            progress::error(&format!("{}: {why}", result.name));
            failed.push(format!("{}: {why}", result.name));
        }
    }
    if !failed.is_empty() && absent == AbsentHosts::Reported {
        progress::error(&format!("'{verb} {}' is not finished there; to do so, repeat it", context.app));
    }
    let left = known.iter().filter(|machine| left.contains(&machine.name())).map(ToString::to_string);
    let left: Vec<String> = left.collect();
    let is_left = !left.is_empty();
    noted.leave_only(left, is_own_left && waits);
    Ok(FinishedVerb { failed, is_left })
}

/// A line of the audit log of a machine.
#[derive(Debug, Deserialize)]
struct AuditedVerb {
    verb: String,
    outcome: String,
}

/// Asks a machine whether it has been changed since the verb began. Its own clock counts, and the time is rounded in favour
/// of the verb: most can be executed twice.
fn ask_state(
    context: &AppContext<'_>,
    to: &DeployTo,
    machine: &MachineAddress,
    record: &UnfinishedVerb,
) -> VerbState {
    let since = age(record.at).as_secs() - 1;
    let args = ["--since".to_owned(), format!("{}s", since.max(0)), "--format".to_owned(), "json".to_owned()];
    let words = request_words(context, "audit", &args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = machine.name();
    let absent = |why: String, has_no_access: bool| {
        VerbState::Absent(HostResult {
            name: machine.name(),
            output: String::new(),
            failure: Some(why),
            is_away: true,
            has_no_access,
        })
    };
    let ended = match ssh::run_on_host(&name, machine, to, &words, SessionInput::Nothing, QUERY) {
        Ok(ended) => ended,
        // This machine may be short of something for a moment.
        Err(err) => return absent(format!("{err:#}"), false),
    };
    match SessionFailure::of(&ended, Some(machine), to) {
        Some(failure) if failure.is_unreached() => {
            absent(failure.why, failure.kind == SessionFailureKind::NoAccess)
        }
        // An older piku does not tell.
        Some(_) => VerbState::Due,
        None => {
            let lines: Vec<AuditedVerb> = serde_json::from_str(&ended.answer).unwrap_or_default();
            if lines.iter().any(|line| ends(line, &record.verb)) { VerbState::Over } else { VerbState::Due }
        }
    }
}

/// Returns true if nothing is left of the verb on a machine on which this has happened since.
fn ends(line: &AuditedVerb, verb: &str) -> bool {
    let is_done = line.outcome == "exit 0" || line.outcome.starts_with("deployed");
    let is_renewed = ["run", "destroy"].contains(&kind(verb)) && RENEWING.contains(&line.verb.as_str());
    is_done && (is_renewed || kind(&line.verb) == kind(verb))
}

/// Returns what a verb is about. An operator may have typed another name of it.
fn kind(verb: &str) -> &str {
    let short = ["ps:", "dyno:", "apps:"].iter().find_map(|prefix| verb.strip_prefix(prefix)).unwrap_or(verb);
    match short {
        "start" | "stop" | "restart" => "run",
        "scale" | "formation" => "scale",
        "destroy" | "delete" | "restore" => "destroy",
        other if other.starts_with("maintenance:") => "maintenance",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_later_change_replaces_what_it_contradicts() {
        let is_replaced = |old: &str, new: &str| {
            let (old, new) = (words(old), words(new));
            let record = UnfinishedVerb {
                verb: old[0].clone(),
                args: old[1..].to_vec(),
                at: Timestamp::now(),
                here: false,
                machines: Vec::new(),
            };
            let next = match new[0].as_str() {
                "push" => NextChange::Deploy,
                "rollback" => NextChange::Rollback,
                verb => NextChange::Verb(verb, &new[1..]),
            };
            next.replaces(&record)
        };
        for (old, new) in [
            ("stop", "start"),
            ("stop", "restart"),
            ("restart", "stop"),
            ("restart", "restart"),
            ("maintenance:on", "maintenance:off"),
            ("ps:scale web=2", "ps:scale web=1 worker=1"),
            ("stop", "destroy --confirm blog"),
            // Nothing is destroyed after its app was wanted again.
            ("destroy --confirm blog", "restore --kept"),
            ("destroy --confirm blog", "push"),
            ("destroy --confirm blog", "rollback"),
        ] {
            assert!(is_replaced(old, new), "{old}, {new}");
        }
        for (old, new) in [
            ("stop", "push"),
            ("stop", "ps:scale web=2"),
            ("restart", "start"),
            ("restart web", "restart worker"),
            ("ps:scale web=2 worker=1", "ps:scale web=1"),
            ("restore --kept", "push"),
            ("maintenance:on", "rollback"),
        ] {
            assert!(!is_replaced(old, new), "{old}, {new}");
        }
    }

    #[test]
    fn what_a_machine_has_done_since_ends_the_verb_there() {
        let of = |verb: &str, line: &str| {
            let (done, outcome) = line.split_once(' ').unwrap();
            ends(&AuditedVerb { verb: done.to_owned(), outcome: outcome.to_owned() }, verb)
        };
        for (verb, line) in [
            ("stop", "stop exit 0"),
            ("stop", "start exit 0"),
            ("restart", "push deployed a as release 3"),
            ("destroy", "restore exit 0"),
            ("ps:scale", "dyno:scale exit 0"),
            ("maintenance:on", "maintenance:off exit 0"),
        ] {
            assert!(of(verb, line), "{verb}, {line}");
        }
        for (verb, line) in [
            ("stop", "stop exit 1"),
            ("stop", "maintenance:on exit 0"),
            ("maintenance:on", "push deployed a as release 3"),
            ("ps:scale", "restart exit 0"),
            ("destroy", "destroy started"),
        ] {
            assert!(!of(verb, line), "{verb}, {line}");
        }
    }
}
