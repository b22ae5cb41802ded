//! A verb on each target host, with their outputs below each other.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, poll};
use piku_events::actor;
use piku_layout::deploys::change_record::ChangeRecord;
use piku_layout::deploys::unfinished_rollback::UnfinishedRollback;
use piku_layout::settings::DeployTo;
use piku_report::output;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::host_output::{HostResult, ask_for_json, output_format, print_outputs};
use super::host_request::{ask_all, ask_host};
use super::host_verb::{HostVerb, VerbResults, run_here};
use super::killed_verb::NextChange;
use super::noted_verb::NotedVerb;
use super::plan::{self, FanOut, OwnTurn};
use super::relay_order::RelayOrder;
use super::rollback_run::AbsentHosts;
use super::{killed_rollback, killed_verb, repeat_hint, request_words};
use crate::app_context::AppContext;

/// Largest input that is sent to each host, in bytes.
const LONGEST_INPUT: u64 = 16 << 20;
/// Milliseconds between two tables of `ps --watch`.
const WATCH_PAUSE: u16 = 2000;
/// Moves the cursor of a terminal to its first line and clears what is below.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// Executes the verb everywhere, prints the outputs and reports the failures.
pub(super) fn run_on_each(
    context: &AppContext<'_>,
    to: &DeployTo,
    verb: &str,
    args: &[String],
    how: FanOut,
) -> anyhow::Result<ExitCode> {
    if args.iter().any(|arg| arg == "--watch") {
        return watch(context, to, verb, args, how);
    }
    if how.is_query {
        return query_each(context, to, verb, args, how, false);
    }
    let input = if how.reads_stdin { read_input()? } else { Vec::new() };
    let order = RelayOrder::wait(context, &actor::actor_name(), None)?;
    if verb == "destroy" {
        UnfinishedRollback::end(context.root, context.app).context("cannot forget the rollback")?;
    }
    // What has failed is reported.
    killed_verb::finish_before(context, to, &order, NextChange::Verb(verb, args))?;
    killed_rollback::finish(context, to, &order, AbsentHosts::Reported)?;
    let host_verb = HostVerb { context, to, verb, args, how, input: &input };
    let noted =
        if plan::changes_settings(verb) { None } else { NotedVerb::begin(context, host_verb.record()) };
    let end = host_verb.execute(&order, noted.as_ref());
    // From here on, what has failed is reported.
    noted.map_or(Ok(()), NotedVerb::end)?;
    let Some(VerbResults { mut results, is_remembered }) = end? else { return Ok(ExitCode::FAILURE) };
    print_outputs(&results, output_format(args))?;
    if is_remembered {
        report_away(&mut results, to.skip_down);
    }
    Ok(report_failures(context, to, verb, &results, how, is_remembered))
}

/// Reads the input that each host gets.
fn read_input() -> anyhow::Result<Vec<u8>> {
    let mut input = Vec::new();
    io::stdin().lock().take(LONGEST_INPUT + 1).read_to_end(&mut input).context("cannot read stdin")?;
    if input.len() as u64 > LONGEST_INPUT {
        return Err(UserError::new(format!("stdin has more than {LONGEST_INPUT} bytes")).into());
    }
    Ok(input)
}

/// Reports the hosts that get a change later, which is no failure of those that are only away if `may_be_away` is true.
fn report_away(results: &mut [HostResult], may_be_away: bool) {
    for result in results.iter_mut().filter(|result| result.is_away) {
        let Some(why) = &result.failure else { continue };
        let when = if result.has_no_access { "it lets this machine in" } else { "it is back" };
        progress::error(&format!("{}: {why}; it gets the change when {when}", result.name));
        if may_be_away && !result.has_no_access {
            result.failure = None;
        }
    }
}

/// Executes a verb that changes nothing everywhere, and prints the outputs, on a cleared terminal if `clears` is true.
fn query_each(
    context: &AppContext<'_>,
    to: &DeployTo,
    verb: &str,
    args: &[String],
    how: FanOut,
    clears: bool,
) -> anyhow::Result<ExitCode> {
    let format = output_format(args);
    let args = &ask_for_json(args);
    let words = request_words(context, verb, args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let asked = ask_all(&to.machines, |machine| ask_host(machine, to, &words, &[], how));
    if clears {
        output::write(CLEAR)?;
    }
    let mut results = Vec::new();
    if how.here != OwnTurn::None {
        results.push(run_here(context, verb, args, &[], format)?);
    }
    results.extend(asked);
    print_outputs(&results, format)?;
    Ok(report_failures(context, to, verb, &results, how, false))
}

/// Reports the hosts that have not executed the verb, and returns the exit code.
fn report_failures(
    context: &AppContext<'_>,
    to: &DeployTo,
    verb: &str,
    results: &[HostResult],
    how: FanOut,
    is_remembered: bool,
) -> ExitCode {
    let failed: Vec<_> = results.iter().filter(|result| result.failure.is_some()).collect();
    for result in failed.iter().filter(|result| !(is_remembered && result.is_away)) {
        progress::error(&format!("{}: {}", result.name, result.failure.as_deref().unwrap_or_default()));
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    if !how.is_query {
        let names: Vec<_> = failed.iter().map(|result| result.name.as_str()).collect();
        progress::error(&format!("{} has not happened on {}", named(context, verb), names.join(", ")));
        if is_remembered && failed.iter().all(|result| result.is_away) {
            return ExitCode::FAILURE;
        }
        let hint =
            if how.here == OwnTurn::Last { "see to the app on the machine itself" } else { repeat_hint(to) };
        progress::detail(hint);
    }
    ExitCode::FAILURE
}

fn named(context: &AppContext<'_>, verb: &str) -> String {
    format!("'{verb} {}'", context.app)
}

/// Prints the outputs every two seconds until the reader closes the output.
fn watch(
    context: &AppContext<'_>,
    to: &DeployTo,
    verb: &str,
    args: &[String],
    how: FanOut,
) -> anyhow::Result<ExitCode> {
    let stdout = io::stdout();
    let is_terminal = stdout.is_terminal() || args.iter().any(|arg| arg == "--terminal");
    let once: Vec<String> =
        args.iter().filter(|arg| !["--watch", "--terminal"].contains(&arg.as_str())).cloned().collect();
    loop {
        query_each(context, to, verb, &once, how, is_terminal)?;
        // Without requested events, poll still reports that the reader is gone.
        match poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::empty())], WATCH_PAUSE) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(ExitCode::SUCCESS),
            Err(err) => return Err(err).context("cannot wait"),
        }
        if !is_terminal {
            output::write(b"\n")?;
        }
    }
}
