//! A command on one target host, with the terminal of the client.

use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use piku_layout::settings::DeployTo;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::request_words;
use crate::app_context::AppContext;
use crate::distribute::ssh::{self, SessionInput, TimeLimit};

/// Time in which a host tells that it is there.
const ANSWER: TimeLimit = TimeLimit::Whole(Duration::from_secs(30));

/// Becomes the request to the first target host that answers.
pub(super) fn run_on_one(
    context: &AppContext<'_>,
    to: &DeployTo,
    verb: &str,
    args: &[String],
) -> anyhow::Result<ExitCode> {
    let is_there = |machine: &&piku_layout::settings::MachineAddress| {
        let words = ["release:machine", context.app.as_str()];
        let asked = ssh::run_on_host(&machine.name(), machine, to, &words, SessionInput::Nothing, ANSWER);
        asked.is_ok_and(|ended| ended.code == 0)
    };
    let Some(machine) = to.machines.iter().find(is_there) else {
        return Err(UserError::new(format!("no machine of {} answers", context.app)).into());
    };
    progress::step(&format!("On {}", machine.name()));
    let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    // What follows is the command's own.
    let mark = (verb == "run" && args.first().is_none_or(|word| word != "--")).then(|| "--".to_owned());
    let args: Vec<String> = mark.into_iter().chain(args.iter().cloned()).collect();
    let words = request_words(context, verb, &args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = if has_terminal { ssh::terminal_command } else { ssh::ssh_command };
    let err = command(machine, to, &words)?.exec();
    Err(err).context("cannot run 'ssh'")
}
