//! Runs an operator's verb: `scripts/piku` with the arguments of the client, on the client's terminal.

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use piku_layout::name::AppName;
use piku_layout::paths::ROOT_VARIABLE;
use piku_layout::unknown_app::KEY_APPS;

use super::KeySession;
use crate::app_context::{KEY, SCRIPTS};
use crate::child_env;
use crate::relay::HERE;

/// Runs the verb and returns its exit code, 128 + n after signal n. One that is relayed is not passed on.
pub(super) fn run_verb(
    session: &KeySession,
    verb: &str,
    args: &[String],
    is_relayed: bool,
) -> anyhow::Result<u8> {
    let KeySession { key, scope, root, scripts } = session;
    let script = scripts.join("piku");
    let mut command = child_env::clean_command(&script)?;
    command.arg(verb).args(args);
    command.env(ROOT_VARIABLE, root.path()).env(SCRIPTS, scripts).env(KEY, key);
    if is_relayed {
        command.env(HERE, "1");
    }
    if !scope.is_empty() {
        command.env(KEY_APPS, scope.iter().map(AppName::as_str).collect::<Vec<_>>().join(" "));
    }
    let mut child = command.spawn().with_context(|| format!("cannot run '{}'", script.display()))?;
    // Signals of the terminal reach the verb itself; this process stays to report its exit code. They are
    // blocked after the start so that the verb does not inherit the mask.
    let terminal: SigSet = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP].into_iter().collect();
    terminal.thread_block().context("cannot block signals")?;
    let status = child.wait().with_context(|| format!("cannot wait for '{}'", script.display()))?;
    Ok(child_env::exit_code(status))
}
