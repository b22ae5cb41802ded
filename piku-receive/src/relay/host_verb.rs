//! A verb that changes something, executed on each host.

use std::io;
use std::process::Stdio;
use std::thread;

use anyhow::Context;
use jiff::Timestamp;
use piku_layout::deploys::unfinished_verb::UnfinishedVerb;
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::output::OutputFormat;
use piku_report::progress;

use super::host_output::{HostResult, OWN_NAME, ask_for_json, output_format};
use super::host_request::{ask_all, ask_host};
use super::noted_verb::NotedVerb;
use super::plan::{self, FanOut, OwnTurn};
use super::relay_order::RelayOrder;
use super::settings_change::{BegunChange, NotedChange};
use super::{lock_app, own_command, request_words};
use crate::app_context::AppContext;
use crate::child_env;
use crate::distribute::front::{self, HostChange};
use crate::distribute::missed;

/// Parts of the messages of hosts that do not have the app, or have it still.
const IS_DONE: [&str; 2] = ["there is no app", "it was not destroyed"];

/// A verb with its arguments and the hosts that execute it.
#[derive(Clone, Copy)]
pub(super) struct HostVerb<'a> {
    pub(super) context: &'a AppContext<'a>,
    pub(super) to: &'a DeployTo,
    pub(super) verb: &'a str,
    /// Without the app.
    pub(super) args: &'a [String],
    pub(super) how: FanOut,
    /// Input that each host gets.
    pub(super) input: &'a [u8],
}

/// Results of all hosts that were asked.
pub(super) struct VerbResults {
    pub(super) results: Vec<HostResult>,
    /// A machine that is away gets the change later.
    pub(super) is_remembered: bool,
}

impl HostVerb<'_> {
    /// Returns the record of the verb before the first host is asked.
    pub(super) fn record(&self) -> UnfinishedVerb {
        UnfinishedVerb {
            verb: self.verb.to_owned(),
            args: self.args.to_vec(),
            at: Timestamp::now(),
            here: self.how.here != OwnTurn::None,
            machines: self.to.machines.iter().map(ToString::to_string).collect(),
        }
    }

    /// Executes the verb on all hosts, and strikes each that has answered from `noted_verb`. Returns `None` if this host has
    /// failed first, which is reported.
    pub(super) fn execute(
        &self,
        order: &RelayOrder,
        noted_verb: Option<&NotedVerb<'_>>,
    ) -> anyhow::Result<Option<VerbResults>> {
        let Self { context, to, verb, args, how, input } = *self;
        let format = output_format(args);
        let args = &ask_for_json(args);
        let mut results = Vec::new();
        let takes_lock = plan::takes_lock(verb);
        // A name that one of them does not have any more is to go from the others.
        let goes_on = verb == "domains:remove";
        let mut lock = if takes_lock { lock_app(context)? } else { None };
        let begun =
            plan::changes_settings(verb).then(|| BegunChange::begin(context, &to.machines)).transpose()?;
        let run_here = || order.share(|| run_here(context, verb, args, input, format));
        if how.here == OwnTurn::First {
            // The own command takes it itself.
            drop(lock.take());
            results.push(run_here()?);
            if let Some(noted) = noted_verb {
                noted.strike_own();
            }
        }
        let noted = begun.map(|begun| begun.note(context)).transpose()?;
        let is_remembered = noted.as_ref().is_some_and(NotedChange::is_remembered);
        if how.here == OwnTurn::First {
            let report_others = || {
                let others = if is_remembered { "get the change later" } else { "are unchanged" };
                progress::error(&format!("the other machines {others}"));
            };
            if results.iter().any(|own| own.failure.is_some()) && !goes_on {
                report_others();
                return Ok(None);
            }
            if takes_lock {
                lock = lock_app(context).inspect_err(|_| report_others())?;
            }
        }
        let own_results = results.len();
        match verb {
            "stop" => missed::hold(context, true)?,
            "start" | "restart" => missed::hold(context, false)?,
            _ => {}
        }
        results.extend(self.ask_machines(args, goes_on, noted_verb));
        if let Some(noted) = noted {
            noted.finish(context, &to.machines, &results[own_results..])?;
            front::refresh(context, to);
        }
        drop(lock);
        if ["destroy", "restore"].contains(&verb) {
            // A host that never had the app has nothing to lose or to bring back.
            for result in &mut results {
                if result.failure.as_ref().is_some_and(|why| IS_DONE.iter().any(|text| why.contains(text))) {
                    result.failure = None;
                }
            }
        }
        if how.here == OwnTurn::Last {
            results.push(run_here()?);
            if let Some(noted) = noted_verb {
                noted.strike_own();
            }
        }
        Ok(Some(VerbResults { results, is_remembered }))
    }

    /// Asks the machines, in turn or all at once.
    fn ask_machines(&self, args: &[String], goes_on: bool, noted: Option<&NotedVerb<'_>>) -> Vec<HostResult> {
        let Self { context, to, verb, how, input, .. } = *self;
        let words = request_words(context, verb, args);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // What is only stored interrupts nothing.
        let is_drained = how.is_in_turn && !args.iter().any(|arg| arg == "--no-restart");
        let ask = |machine: &MachineAddress| {
            let ask = |machine: &MachineAddress| ask_host(machine, to, &words, input, how);
            let result = if is_drained { ask_drained(context, to, machine, ask) } else { ask(machine) };
            if let Some(noted) = noted.filter(|_| !result.is_away) {
                noted.strike(machine);
            }
            result
        };
        if how.is_in_turn { ask_in_turn(&to.machines, goes_on, ask) } else { ask_all(&to.machines, ask) }
    }
}

/// Asks a host while the front sends it no requests.
fn ask_drained(
    context: &AppContext<'_>,
    to: &DeployTo,
    machine: &MachineAddress,
    ask: impl FnOnce(&MachineAddress) -> HostResult,
) -> HostResult {
    let (name, mut output, mut has_no_access) = (machine.name(), String::new(), false);
    let (failure, is_reached) = front::change_drained(context, to, &name, HostChange::Restart, || {
        let result = ask(machine);
        output = result.output;
        has_no_access = result.has_no_access;
        (result.failure, !result.is_away)
    });
    HostResult { name, output, failure, is_away: !is_reached, has_no_access }
}

/// Asks one host after the other, until one that could be reached fails, unless `goes_on` is true.
fn ask_in_turn(
    machines: &[MachineAddress],
    goes_on: bool,
    ask: impl Fn(&MachineAddress) -> HostResult,
) -> Vec<HostResult> {
    let mut results = Vec::new();
    for (at, machine) in machines.iter().enumerate() {
        let result = ask(machine);
        let ends = result.failure.is_some() && !result.is_away && !goes_on;
        results.push(result);
        if ends {
            let left: Vec<_> = machines[at + 1..].iter().map(MachineAddress::name).collect();
            if !left.is_empty() {
                progress::error(&format!("unchanged: {}", left.join(", ")));
            }
            break;
        }
    }
    results
}

/// Executes the verb on this host. With a format that is merged, its output is returned, otherwise printed.
pub(super) fn run_here(
    context: &AppContext<'_>,
    verb: &str,
    args: &[String],
    input: &[u8],
    format: OutputFormat,
) -> anyhow::Result<HostResult> {
    let cannot = "cannot run the script of the verbs";
    let mut command = own_command(context, verb, args);
    command.stdin(Stdio::piped());
    if format != OutputFormat::Text {
        command.stdout(Stdio::piped());
    }
    let mut child = command.spawn().context(cannot)?;
    let stdin = child.stdin.take();
    let out = thread::scope(|scope| {
        scope.spawn(move || {
            // A verb that refuses early does not read it.
            stdin.map(|mut stdin| io::Write::write_all(&mut stdin, input))
        });
        child.wait_with_output().context(cannot)
    })?;
    let code = child_env::exit_code(out.status);
    let failure = (code != 0).then(|| format!("failed with exit code {code}"));
    let output = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(HostResult { name: OWN_NAME.to_owned(), output, failure, is_away: false, has_no_access: false })
}
