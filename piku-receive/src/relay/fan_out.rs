//! A verb on each target host, with their outputs below each other.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, poll};
use piku_events::actor;
use piku_layout::deploys::unfinished_rollback::UnfinishedRollback;
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use piku_report::user_error::UserError;

use super::host_output::{HostResult, OWN_NAME, ask_for_json, output_format, print_outputs};
use super::killed_rollback;
use super::plan::{self, FanOut, OwnTurn};
use super::relay_order::RelayOrder;
use super::rollback_run::AbsentHosts;
use super::settings_change::{BegunChange, NotedChange};
use super::{lock_app, own_command, repeat_hint, request_words};
use crate::app_context::AppContext;
use crate::child_env;
use crate::distribute::front::{self, HostChange};
use crate::distribute::missed;
use crate::distribute::session_failure::{SessionFailure, SessionFailureKind};
use crate::distribute::ssh::{self, SessionInput, TimeLimit};

/// Limit for a verb that changes nothing.
pub(super) const QUERY: TimeLimit = TimeLimit::Whole(Duration::from_secs(30));
/// Largest input that is sent to each host, in bytes.
const LONGEST_INPUT: u64 = 16 << 20;
/// Milliseconds between two tables of `ps --watch`.
const WATCH_PAUSE: u16 = 2000;
/// Moves the cursor of a terminal to its first line and clears what is below.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// Parts of the messages of hosts that do not have the app, or have it still.
const IS_DONE: [&str; 2] = ["there is no app", "it was not destroyed"];

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
    killed_rollback::finish(context, to, &order, AbsentHosts::Reported)?;
    let format = output_format(args);
    let args = &ask_for_json(args);
    let mut results = Vec::new();
    let takes_lock = plan::takes_lock(verb);
    // A name that one of them does not have any more is to go from the others.
    let goes_on = verb == "domains:remove";
    let mut lock = if takes_lock { lock_app(context)? } else { None };
    let begun =
        plan::changes_settings(verb).then(|| BegunChange::begin(context, &to.machines)).transpose()?;
    if how.here == OwnTurn::First {
        // The own command takes it itself.
        drop(lock.take());
        results.push(order.share(|| run_here(context, verb, args, &input, format))?);
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
            return Ok(ExitCode::FAILURE);
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
    let words = request_words(context, verb, args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ask = |machine: &MachineAddress| ask_host(machine, to, &words, &input, how);
    if how.is_in_turn {
        // What is only stored interrupts nothing.
        let restarts = !args.iter().any(|arg| arg == "--no-restart");
        let ask = |machine: &MachineAddress| {
            if restarts { ask_drained(context, to, machine, ask) } else { ask(machine) }
        };
        results.extend(ask_in_turn(&to.machines, goes_on, ask));
    } else {
        results.extend(ask_all(&to.machines, ask));
    }
    if let Some(noted) = noted {
        noted.finish(context, &to.machines, &results[own_results..])?;
        front::refresh(context, to);
    }
    drop(lock);
    if how.here == OwnTurn::Last {
        // A host that never had the app has nothing to lose or to bring back.
        for result in &mut results {
            if result.failure.as_ref().is_some_and(|why| IS_DONE.iter().any(|text| why.contains(text))) {
                result.failure = None;
            }
        }
        results.push(run_here(context, verb, args, &input, format)?);
    }
    print_outputs(&results, format)?;
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

/// Returns the limit for a change, which may wait for a deploy there.
pub(super) fn change_limit(to: &DeployTo) -> TimeLimit {
    TimeLimit::of_work(Duration::from_secs(to.time_limit))
}

/// Asks all hosts at the same time.
pub(super) fn ask_all<T: Send>(
    machines: &[MachineAddress],
    ask: impl Fn(&MachineAddress) -> T + Sync,
) -> Vec<T> {
    let ask = &ask;
    thread::scope(|scope| {
        let running: Vec<_> = machines.iter().map(|machine| scope.spawn(move || ask(machine))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

/// Returns the result of a host.
fn ask_host(
    machine: &MachineAddress,
    to: &DeployTo,
    words: &[&str],
    input: &[u8],
    how: FanOut,
) -> HostResult {
    let name = machine.name();
    let input = if how.reads_stdin { SessionInput::Text(input) } else { SessionInput::Nothing };
    let limit = if how.is_query { QUERY } else { change_limit(to) };
    match ssh::run_on_host(&name, machine, to, words, input, limit) {
        Ok(ended) => {
            let failure = SessionFailure::of(&ended, Some(machine), to);
            let is_away = failure.as_ref().is_some_and(SessionFailure::is_unreached);
            let kind = failure.as_ref().map(|failure| failure.kind);
            let has_no_access = kind == Some(SessionFailureKind::NoAccess);
            let failure = failure.map(|failure| failure.why);
            HostResult { name, output: ended.answer, failure, is_away, has_no_access }
        }
        Err(err) => {
            let failure = Some(format!("{err:#}"));
            HostResult { name, output: String::new(), failure, is_away: false, has_no_access: false }
        }
    }
}

/// Executes the verb on this host. With a format that is merged, its output is returned, otherwise printed.
fn run_here(
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
