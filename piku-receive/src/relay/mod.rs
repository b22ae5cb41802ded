//! `relay`: executes a verb about an app of target hosts (`deploy_to`) where the app runs. Each target host
//! executes it as a request of the builder's key, whose scope it checks; this host executes its part by the
//! script of the verbs.

#![expect(clippy::disallowed_methods, reason = "checks that a folder exists which only piku writes")]

pub(crate) mod before_deploy;
mod fan_out;
mod host_output;
mod host_releases;
mod host_request;
mod host_verb;
pub(crate) mod killed_rollback;
pub(crate) mod killed_verb;
mod log_line;
mod log_query;
mod logs;
mod noted_verb;
mod one_host;
mod own_settings;
mod plan;
pub(crate) mod relay_order;
mod rollback;
pub(crate) mod rollback_run;
mod settings_change;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use piku_events::actor;
use piku_events::audit::{self, AuditedAction};
use piku_files::FileLock;
use piku_layout::app_lock;
use piku_layout::paths::ROOT_VARIABLE;
use piku_layout::settings::{DeployTo, HostSettings};
use piku_report::progress;
use piku_report::user_error::{UserError, advice};

use crate::app_context::{AppContext, KEY, SCRIPTS};
use crate::child_env;
use crate::session::request::RELAYED;
use plan::{OwnState, OwnTurn, RelayPlan};

/// Environment variable that keeps the script of the verbs from relaying.
pub(crate) const HERE: &str = "PIKU_HERE";

/// Executes a verb with its arguments, the app not among them.
pub(crate) fn relay_verb(context: &AppContext<'_>, verb: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    let to = match HostSettings::read(&context.root.settings()) {
        Ok(mut settings) => settings.deploy_to.remove(context.app).unwrap_or_default(),
        // A mistake in them does not keep anyone from the logs.
        Err(err) if ["logs", "ps", "releases", "config", "config:get"].contains(&verb) => {
            progress::warning(&format!("{err:#}; only this machine is asked"));
            DeployTo::default()
        }
        Err(err) => return Err(err),
    };
    match plan::plan_verb(context.app, &to, own_state(context), verb, args) {
        RelayPlan::Here => run_here(context, verb, args),
        RelayPlan::HereOnly { warning } => {
            progress::warning(&warning);
            run_here(context, verb, args)
        }
        RelayPlan::Each(how) => {
            let end = fan_out::run_on_each(context, &to, verb, args, how);
            // The own command records itself.
            if !how.is_query && how.here == OwnTurn::None {
                record_end(context, verb, &end);
            }
            end
        }
        RelayPlan::RollBack => {
            let end = rollback::roll_back_all(context, &to);
            if !to.here {
                record_end(context, verb, &end);
            }
            end
        }
        RelayPlan::OnOne => {
            // This process becomes the request, so that its end is not recorded.
            if verb != "open" {
                record(context, verb, "started");
            }
            one_host::run_on_one(context, &to, verb, args)
        }
        RelayPlan::Logs => logs::print_merged_logs(context, &to, args),
        RelayPlan::Refuse { why, hint } => Err(UserError::new(why).hint(hint).into()),
    }
}

/// Returns the state of the app on this host.
fn own_state(context: &AppContext<'_>) -> OwnState {
    OwnState {
        is_live: context.dir().current_number().is_some(),
        is_destroyed: context.dir().destroyed().is_dir(),
    }
}

/// Becomes the verb on this host.
fn run_here(context: &AppContext<'_>, verb: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    let err = own_command(context, verb, args).exec();
    Err(err).context("cannot run the script of the verbs")
}

/// Records the end of a verb that only other machines have executed.
fn record_end(context: &AppContext<'_>, verb: &str, end: &anyhow::Result<ExitCode>) {
    let outcome = match end {
        Ok(code) if *code == ExitCode::SUCCESS => "exit 0".to_owned(),
        Ok(_) => "exit 1".to_owned(),
        Err(err) => format!("exit {}", advice(err).1),
    };
    record(context, verb, &outcome);
}

/// Appends a line to the audit log, unless the session of a key does.
fn record(context: &AppContext<'_>, verb: &str, outcome: &str) {
    if actor::calling_key().is_none() {
        let (key, app) = (actor::actor_name(), Some(context.app.as_str()));
        audit::append_action(context.root, &AuditedAction { key: &key, verb, app, outcome });
    }
}

/// Returns the command of the verb on this host. It has the environment of this process, with the key's scope; in a
/// session of a key, that of its verbs.
fn own_command(context: &AppContext<'_>, verb: &str, args: &[String]) -> Command {
    let mut command = Command::new(context.scripts.join("piku"));
    command.arg(verb).args(own_words(context, verb, args));
    command.env(HERE, "1").env(ROOT_VARIABLE, context.root.path()).env(SCRIPTS, context.scripts);
    if let Ok(path) = child_env::search_path() {
        command.env("PATH", path);
    }
    if !context.key.is_empty() {
        command.env(KEY, context.key);
    }
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
