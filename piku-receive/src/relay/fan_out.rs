//! A verb on each target host, with their outputs below each other.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, poll};
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::output::{self, OutputFormat};
use piku_report::progress;
use piku_report::terminal::coloured_text;
use piku_report::user_error::{BUSY, UserError};

use super::plan::{self, FanOut, OwnTurn};
use super::{explain_line, lock_app, own_command, repeat_hint, request_words};
use crate::app_context::AppContext;
use crate::child_env;
use crate::distribute::missed;
use crate::distribute::ssh::{self, EndedSession, NO_CONNECTION, SessionInput, TimeLimit};

/// Limit for a verb that changes nothing.
pub(super) const QUERY: TimeLimit = TimeLimit::Whole(Duration::from_secs(30));
/// Limit for a change, which may wait for a deploy there.
pub(super) const CHANGE: TimeLimit =
    TimeLimit::Silence { silence: Duration::from_secs(3600), whole: Duration::from_secs(24 * 3600) };
/// Largest input that is sent to each host, in bytes.
const LONGEST_INPUT: u64 = 16 << 20;
/// Milliseconds between two tables of `ps --watch`.
const WATCH_PAUSE: u16 = 2000;
/// Moves the cursor of a terminal to its first line and clears what is below.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";
/// Name of this host beside those of the target hosts.
pub(super) const OWN_NAME: &str = "here";

/// Parts of the messages of hosts that do not have the app, or have it still.
const IS_DONE: [&str; 2] = ["there is no app", "it was not destroyed"];

/// Result of one host.
struct HostResult {
    name: String,
    output: String,
    /// Why it has not executed the verb.
    failure: Option<String>,
}

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
    let mut input = Vec::new();
    if how.reads_stdin {
        io::stdin().lock().take(LONGEST_INPUT + 1).read_to_end(&mut input).context("cannot read stdin")?;
        if input.len() as u64 > LONGEST_INPUT {
            return Err(UserError::new(format!("stdin has more than {LONGEST_INPUT} bytes")).into());
        }
    }
    let format = output_format(args);
    let args = ask_for_json(args);
    let mut results = Vec::new();
    let takes_lock = plan::takes_lock(verb);
    // A name that one of them does not have any more is to go from the others.
    let goes_on = verb == "domains:remove";
    let mut lock = if takes_lock { lock_app(context)? } else { None };
    if how.here == OwnTurn::First {
        // The own command takes it itself.
        drop(lock.take());
        let own = run_here(context, verb, &args, &input, format)?;
        if own.failure.is_some() && !goes_on {
            progress::error("the other machines are unchanged");
            return Ok(ExitCode::FAILURE);
        }
        results.push(own);
        if takes_lock {
            lock = lock_app(context).inspect_err(|_| progress::error("the other machines are unchanged"))?;
        }
    }
    match verb {
        "stop" => missed::hold(context, true)?,
        "start" | "restart" => missed::hold(context, false)?,
        _ => {}
    }
    let words = request_words(context, verb, &args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ask = |machine: &MachineAddress| ask_host(machine, to, &words, &input, how);
    if how.is_in_turn {
        for (at, machine) in to.machines.iter().enumerate() {
            let (result, is_reached) = ask(machine);
            let ends = result.failure.is_some() && is_reached && !goes_on;
            results.push(result);
            if ends {
                let left: Vec<_> = to.machines[at + 1..].iter().map(MachineAddress::name).collect();
                if !left.is_empty() {
                    progress::error(&format!("unchanged: {}", left.join(", ")));
                }
                break;
            }
        }
    } else {
        results.extend(ask_all(&to.machines, ask).into_iter().map(|(result, _)| result));
    }
    drop(lock);
    if how.here == OwnTurn::Last {
        // A host that never had the app has nothing to lose or to bring back.
        for result in &mut results {
            if result.failure.as_ref().is_some_and(|why| IS_DONE.iter().any(|text| why.contains(text))) {
                result.failure = None;
            }
        }
        results.push(run_here(context, verb, &args, &input, format)?);
    }
    print_outputs(&results, format)?;
    Ok(report_failures(context, to, verb, &results, how))
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
    let args = ask_for_json(args);
    let words = request_words(context, verb, &args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let asked = ask_all(&to.machines, |machine| ask_host(machine, to, &words, &[], how).0);
    if clears {
        output::write(CLEAR)?;
    }
    let mut results = Vec::new();
    if how.here != OwnTurn::None {
        results.push(run_here(context, verb, &args, &[], format)?);
    }
    results.extend(asked);
    print_outputs(&results, format)?;
    Ok(report_failures(context, to, verb, &results, how))
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

/// Returns the result of a host, and true if it could be reached.
fn ask_host(
    machine: &MachineAddress,
    to: &DeployTo,
    words: &[&str],
    input: &[u8],
    how: FanOut,
) -> (HostResult, bool) {
    let name = machine.name();
    let input = if how.reads_stdin { SessionInput::Text(input) } else { SessionInput::Nothing };
    let limit = if how.is_query { QUERY } else { CHANGE };
    let (output, failure, is_reached) = match ssh::run_on_host(&name, machine, to, words, input, limit) {
        Ok(ended) => {
            let is_reached = ended.code != NO_CONNECTION;
            let failure = explain_failure(&ended);
            (ended.answer, failure, is_reached)
        }
        Err(err) => (String::new(), Some(format!("{err:#}")), true),
    };
    (HostResult { name, output, failure }, is_reached)
}

/// Returns why a request has failed.
pub(super) fn explain_failure(ended: &EndedSession) -> Option<String> {
    let what = match ended.code {
        0 => return None,
        NO_CONNECTION => "no connection",
        code if code == i32::from(BUSY) => "busy",
        _ => "failed",
    };
    Some(if ended.last.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {}", explain_line(&ended.last))
    })
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
    Ok(HostResult { name: OWN_NAME.to_owned(), output, failure })
}

/// Returns the format that the arguments name.
fn output_format(args: &[String]) -> OutputFormat {
    let after = args.iter().skip_while(|arg| *arg != "--format").nth(1).map(String::as_str);
    let value = after.or_else(|| args.iter().find_map(|arg| arg.strip_prefix("--format=")));
    match value {
        Some("json") => OutputFormat::Json,
        Some("yaml") => OutputFormat::Yaml,
        _ => OutputFormat::Text,
    }
}

/// Returns the arguments for each host. A format that is merged is read as JSON, whose text bounds the memory that it
/// takes: an alias of YAML can stand for any number of rows.
fn ask_for_json(args: &[String]) -> Vec<String> {
    let mut is_value = false;
    let arg = |arg: &String| {
        let is_yaml = is_value && arg == "yaml";
        is_value = arg == "--format";
        match arg.as_str() {
            _ if is_yaml => "json".to_owned(),
            "--format=yaml" => "--format=json".to_owned(),
            _ => arg.clone(),
        }
    };
    args.iter().map(arg).collect()
}

/// Prints each output below the name of its host, or all rows as one list in which each row has the name as
/// `machine`.
fn print_outputs(results: &[HostResult], format: OutputFormat) -> anyhow::Result<()> {
    let rows = if format == OutputFormat::Text { Vec::new() } else { merge_rows(results) };
    output::print(format, &rows, || render_outputs(results))
}

/// Renders each output below the name of its host, indented: no host can write a line that looks like the name of
/// another one. Only text and colours reach the terminal.
fn render_outputs(results: &[HostResult]) -> String {
    let mut text = String::new();
    for result in results.iter().filter(|result| !result.output.is_empty()) {
        if !text.is_empty() || results.first().is_some_and(|first| first.name == OWN_NAME) {
            text.push('\n');
        }
        text.extend([result.name.as_str(), ":\n"]);
        for line in result.output.lines() {
            text.extend(["  ", coloured_text(line.as_bytes()).trim_end(), "\n"]);
        }
    }
    text
}

/// Returns the rows of all hosts that have answered, with their names.
fn merge_rows(results: &[HostResult]) -> Vec<serde_json::Value> {
    let mut rows = Vec::new();
    for result in results {
        let value = match serde_json::from_str(&result.output) {
            Ok(serde_json::Value::Array(rows)) => rows,
            Ok(serde_json::Value::Null) | Err(_) => continue,
            Ok(other) => vec![other],
        };
        for row in value {
            rows.push(match row {
                serde_json::Value::Object(mut fields) => {
                    fields.insert("machine".to_owned(), result.name.clone().into());
                    fields.into()
                }
                value => serde_json::json!({ "machine": result.name, "value": value }),
            });
        }
    }
    rows
}

/// Reports the hosts that have not executed the verb, and returns the exit code.
fn report_failures(
    context: &AppContext<'_>,
    to: &DeployTo,
    verb: &str,
    results: &[HostResult],
    how: FanOut,
) -> ExitCode {
    let failed: Vec<_> = results.iter().filter(|result| result.failure.is_some()).collect();
    for result in &failed {
        progress::error(&format!("{}: {}", result.name, result.failure.as_deref().unwrap_or_default()));
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    if !how.is_query {
        let names: Vec<_> = failed.iter().map(|result| result.name.as_str()).collect();
        progress::error(&format!("{} has not happened on {}", named(context, verb), names.join(", ")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_hosts_become_one_list() {
        let of = |name: &str, output: &str| HostResult {
            name: name.to_owned(),
            output: output.to_owned(),
            failure: None,
        };
        let results = [
            of("pi-1", "[{\"instance\": \"web.1\", \"machine\": \"forged\"}]"),
            of("pi-2", "[{\"instance\": \"web.1\"}]"),
            of("pi-3", "- &row [no, JSON]\n- *row\n"),
            of("pi-4", "[7]"),
            of("pi-5", ""),
        ];
        let rows = serde_json::Value::from(merge_rows(&results));
        let expected = serde_json::json!([
            { "instance": "web.1", "machine": "pi-1" },
            { "instance": "web.1", "machine": "pi-2" },
            { "machine": "pi-4", "value": 7 },
        ]);
        assert_eq!(rows, expected);
    }

    #[test]
    fn no_host_speaks_for_another() {
        let of = |name: &str, output: &str| HostResult {
            name: name.to_owned(),
            output: output.to_owned(),
            failure: None,
        };
        let results = [of("pi-1", "PS\npi-2:\nforged\x1b[2J\rpi-2:\n"), of("pi-2", "PS\n"), of("pi-3", "")];
        let text = render_outputs(&results);
        let names: Vec<&str> =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with("  ")).collect();
        assert_eq!(names, ["pi-1:", "pi-2:"], "{text:?}");
        assert!(!text.contains(['\x1b', '\r']), "{text:?}");
    }

    #[test]
    fn the_format_is_that_of_the_arguments() {
        let of = |line: &str| output_format(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("--format json"), OutputFormat::Json);
        assert_eq!(of("web --format=yaml"), OutputFormat::Yaml);
        assert_eq!(of("json"), OutputFormat::Text);
        let asked =
            |line: &str| ask_for_json(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" ");
        assert_eq!(asked("web --format=yaml"), "web --format=json");
        assert_eq!(asked("--format yaml yaml"), "--format json yaml");
        assert_eq!(asked("yaml --format json"), "yaml --format json");
    }
}
