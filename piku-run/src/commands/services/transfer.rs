//! Clients of a binding: its console, a dump of its data and the way back.

use std::io::{self, IsTerminal, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::action::{ClientStreams, check_client, client_command};
use super::binding_values::parse_prefix;
use super::bound_server::wait_for_server;
use super::killed_restore::BegunRestore;
use super::open_service::name_one;
use crate::known_apps::must_be_there;
use crate::process::standard_input::expect_input;
use crate::services::state::{BindingState, BoundService, bindings};

/// Finds the only binding of an app, or that with this prefix of its variables.
fn find_bound(root: &PikuRoot, app: &AppName, variable: Option<&str>) -> anyhow::Result<BoundService> {
    must_be_there(root, app)?;
    let variable = variable.map(parse_prefix).transpose()?;
    let mut found = bindings(root, app)?;
    found.retain(|one| {
        one.binding.state == BindingState::Bound
            && variable.as_ref().is_none_or(|name| one.binding.variable == *name)
    });
    if found.len() > 1 {
        return Err(name_one(app, found.iter().map(|one| one.binding.variable.as_str())).into());
    }
    found.pop().ok_or_else(|| {
        let what = format!(
            "{app} is bound to no service{}",
            variable.map_or(String::new(), |name| format!(" as {name}"))
        );
        UserError::new(what).hint(format!("to bind it: piku service:bind SERVICE {app}")).into()
    })
}

/// Becomes the client of the server for people, such as psql.
pub(crate) fn open_console(root: &PikuRoot, app: &AppName, variable: Option<&str>) -> anyhow::Result<()> {
    let bound = find_bound(root, app, variable)?;
    wait_for_server(root, &bound)?;
    let is_terminal = stdin().is_terminal() && stdout().is_terminal();
    let connection = if is_terminal { ClientStreams::Terminal } else { ClientStreams::Inherited };
    let err = client_command(root, &bound, "console", connection)?.exec();
    Err(err).context("cannot run the console")
}

/// Writes a dump of the binding's data to stdout. The client writes it there itself.
pub(crate) fn print_dump(root: &PikuRoot, app: &AppName, variable: Option<&str>) -> anyhow::Result<()> {
    if stdout().is_terminal() {
        return Err(UserError::new("the dump does not go to a terminal")
            .hint(format!("piku service:dump {app} >{app}.dump"))
            .code(USAGE)
            .into());
    }
    let bound = find_bound(root, app, variable)?;
    run_client(root, &bound, "dump", Stdio::null(), Stdio::inherit())
}

/// Replaces the binding's data by a dump on stdin. The client reads it there itself.
pub(crate) fn read_restore(root: &PikuRoot, app: &AppName, variable: Option<&str>) -> anyhow::Result<()> {
    let bound = find_bound(root, app, variable)?;
    expect_input("a dump", &format!("piku service:restore {app} <{app}.dump"))?;
    restore(root, &bound, Stdio::inherit())?;
    progress::step(&format!("the data of {app} in {} is that of the dump", bound.service));
    Ok(())
}

/// Returns the command that writes a consistent dump of the binding's data to stdout.
pub(crate) fn dump_command(root: &PikuRoot, bound: &BoundService) -> anyhow::Result<Command> {
    wait_for_server(root, bound)?;
    client_command(root, bound, "dump", ClientStreams::Piped)
}

/// Replaces the binding's data by a dump, as a whole or not at all.
///
/// # Errors
/// Fails if the dump is damaged; the data is then as it was.
pub(crate) fn restore(root: &PikuRoot, bound: &BoundService, from: Stdio) -> anyhow::Result<()> {
    let begun = BegunRestore::begin(root, bound)?;
    let restored = run_client(root, bound, "restore", from, Stdio::from(io::stderr()));
    begun.map_or(Ok(()), |begun| begun.end(restored.is_ok()))?;
    restored
}

/// Runs a client of the binding to its end.
fn run_client(
    root: &PikuRoot,
    bound: &BoundService,
    program: &str,
    input: Stdio,
    output: Stdio,
) -> anyhow::Result<()> {
    wait_for_server(root, bound)?;
    let mut command = client_command(root, bound, program, ClientStreams::Piped)?;
    let status = command.stdin(input).stdout(output).status();
    check_client(status.with_context(|| format!("cannot run '{program}'"))?, program, bound)
}
