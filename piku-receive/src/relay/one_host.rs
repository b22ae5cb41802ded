//! A command on one target host, with the terminal of the client.

use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};

use anyhow::Context;
use piku_layout::deploys::missed_release::MissedRelease;
use piku_layout::settings::{DeployTo, MachineAddress};
use piku_report::progress;
use piku_report::user_error::UserError;

use super::host_releases::{HostReleases, ask_host_releases};
use super::request_words;
use crate::app_context::AppContext;
use crate::distribute::ssh::{self, SessionTerminal};

/// Becomes the request to the first target host that answers and has a live release; those that have missed the last
/// deploy come last. Only `run` reads stdin.
pub(super) fn run_on_one(
    context: &AppContext<'_>,
    to: &DeployTo,
    verb: &str,
    args: &[String],
) -> anyhow::Result<ExitCode> {
    let has_release = |machine: &&&MachineAddress| {
        let asked = ask_host_releases(context, to, machine);
        let asked = asked.ok().filter(|ended| ended.code == 0);
        asked.is_some_and(|ended| matches!(HostReleases::parse(&ended.answer), Ok(Some(_))))
    };
    let lack = MissedRelease::of(&context.dir()).machines();
    let mut machines: Vec<&MachineAddress> = to.machines.iter().collect();
    machines.sort_by_key(|machine| lack.iter().any(|one| one.address == machine.to_string()));
    let Some(machine) = machines.iter().find(has_release) else {
        let what = format!("no machine of {} answers with a live release", context.app);
        return Err(UserError::new(what).into());
    };
    progress::step(&format!("On {}", machine.name()));
    let has_terminal = verb == "run" && io::stdin().is_terminal() && io::stdout().is_terminal();
    // What follows is the command's own.
    let mark = (verb == "run" && args.first().is_none_or(|word| word != "--")).then(|| "--".to_owned());
    let args: Vec<String> = mark.into_iter().chain(args.iter().cloned()).collect();
    let words = request_words(context, verb, &args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let terminal = if has_terminal { SessionTerminal::Own } else { SessionTerminal::None };
    let mut command = ssh::ssh_command(machine, to, &words, terminal)?;
    if verb != "run" {
        command.stdin(Stdio::null());
    }
    let err = command.exec();
    Err(err).context("cannot run 'ssh'")
}
