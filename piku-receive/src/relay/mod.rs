//! `relay`: executes a verb about an app of target hosts (`deploy_to`) where the app runs. Each target host
//! executes it as a request of the builder's key, whose scope it checks; this host executes its part by the
//! script of the verbs.

mod fan_out;
mod log_line;
mod log_query;
mod logs;
mod one_host;
mod plan;
mod rollback;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use piku_events::actor;
use piku_files::FileLock;
use piku_layout::app_lock;
use piku_layout::paths::ROOT_VARIABLE;
use piku_layout::settings::{DeployTo, HostSettings};
use piku_report::user_error::UserError;

use crate::app_context::{AppContext, SCRIPTS};
use crate::session::request::RELAYED;
use plan::RelayPlan;

/// Environment variable that keeps the script of the verbs from relaying.
pub(crate) const HERE: &str = "PIKU_HERE";

/// Executes a verb with its arguments, the app not among them.
pub(crate) fn relay_verb(context: &AppContext<'_>, verb: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    let mut settings = HostSettings::read(&context.root.settings())?;
    let to = settings.deploy_to.remove(context.app).unwrap_or_default();
    let is_live_here = context.dir().current_number().is_some();
    match plan::plan_verb(context.app, &to, is_live_here, verb, args) {
        RelayPlan::Here => {
            let err = own_command(context, verb, args).exec();
            Err(err).context("cannot run the script of the verbs")
        }
        RelayPlan::Each(how) => fan_out::run_on_each(context, &to, verb, args, how),
        RelayPlan::RollBack => rollback::roll_back_all(context, &to),
        RelayPlan::OnOne => one_host::run_on_one(context, &to, verb, args),
        RelayPlan::Logs => logs::print_merged_logs(context, &to, args),
        RelayPlan::Refuse { why, hint } => Err(UserError::new(why).hint(hint).into()),
    }
}

/// Returns the command of the verb on this host. It has the environment of this process, with the key's scope.
fn own_command(context: &AppContext<'_>, verb: &str, args: &[String]) -> Command {
    let mut command = Command::new(context.scripts.join("piku"));
    command.arg(verb).args(own_words(context, verb, args));
    command.env(HERE, "1").env(ROOT_VARIABLE, context.root.path()).env(SCRIPTS, context.scripts);
    command
}

/// Returns the arguments of the script: a service's name precedes that of the app.
fn own_words(context: &AppContext<'_>, verb: &str, args: &[String]) -> Vec<String> {
    let takes_service = ["service:bind", "service:unbind", "service:drop"].contains(&verb);
    let at = usize::from(takes_service).min(args.len());
    let mut words = args.to_vec();
    words.insert(at, context.app.to_string());
    words
}

/// Waits for the app's lock on this host, which keeps out pushes and other changes of all machines; `None` if the app
/// has no directory here.
///
/// # Errors
/// With exit code 75 if it is not free within `lock_timeout` of `host.yaml`.
fn lock_app(context: &AppContext<'_>) -> anyhow::Result<Option<FileLock>> {
    let dir = context.dir();
    while dir.is_there() {
        if let Some(lock) = app_lock::wait_for(&dir, &actor::actor_name(), None)? {
            return Ok(Some(lock));
        }
    }
    Ok(None)
}

/// Returns the last line of a host that has failed, or what it means if its piku does not know [`RELAYED`].
fn explain_line(last: &str) -> &str {
    if last.contains(&format!("unknown verb '{RELAYED}'")) {
        "its piku is older than that of this machine, and takes no verbs from it: update it"
    } else {
        last
    }
}

/// Returns the words of a request to a target host, quoted as its parser splits them.
fn request_words(context: &AppContext<'_>, verb: &str, args: &[String]) -> Vec<String> {
    let quote = |word: &str| shell_words::quote(word).into_owned();
    [RELAYED, verb, context.app.as_str()]
        .into_iter()
        .chain(args.iter().map(String::as_str))
        .map(quote)
        .collect()
}

/// Returns the hint for hosts that have not executed the verb.
fn repeat_hint(to: &DeployTo) -> &'static str {
    if to.machines.len() > 1 {
        "when they are well, repeat the command"
    } else {
        "when it is well, repeat the command"
    }
}
