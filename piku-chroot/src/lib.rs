//! Takes a world apart and becomes a command in what is left of it: namespaces without root, a small read-only root, no
//! capability, no descriptor, no variable that was not declared.
//!
//! A tool, not a policy: its caller says what is let in. The order of work is that of the modules: `cli` is what was
//! typed, [`plan`] what it means, `monitor` stays outside, `stub` is process 1 inside, which makes the `root` and starts
//! the `payload`.

#![expect(
    clippy::disallowed_methods,
    reason = "it is the jail: it handles the machine's files, /proc, cgroups and the root that it makes itself; a source is opened \
              by a descriptor, no link in its place, and is mounted, not read"
)]

pub mod jail;
pub mod limits;
pub mod plan;
pub mod profile;
pub mod report;

mod caller_identity;
mod check;
mod cli;
mod confinement;
mod diagnosis;
mod handing;
mod hostfiles;
mod ids;
mod init;
mod jail_reporter;
mod monitor;
mod namespaces;
mod network;
mod payload;
mod protections;
mod root;
mod scope;
mod shown;
mod sys;
mod terminal;
mod waiting;

pub use network::find_pasta;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use piku_report::user_error;

/// Exit code 125: piku-chroot itself failed, as chroot(1) and env(1) have it.
pub const SETUP: u8 = 125;
/// Exit code 126: the command is there and cannot be run.
pub const CANNOT_RUN: u8 = 126;
/// Exit code 127: there is no such command.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the command.
pub const SIGNALLED: u8 = 128;

/// Returns whether a jail's `--listen` holds on this machine.
#[must_use]
pub fn guards_ports() -> bool {
    confinement::landlock::guards_ports(confinement::landlock::version())
}

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match cli::ChrootCli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            let failed = err.use_stderr();
            // A closed stderr changes no exit code.
            let _ = err.print();
            return if failed { ExitCode::from(SETUP) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(err) => ExitCode::from(report(&err)),
    }
}

/// The command line, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::ChrootCli::command()
}

fn run(cli: cli::ChrootCli) -> Result<u8> {
    let (check, format, quiet) = (cli.check, cli.format, cli.quiet);
    let plan = plan::JailPlan::new(&cli, std::env::vars_os())?;
    drop(cli);
    if check { check::run(&plan, format, quiet) } else { monitor::run(plan) }
}

/// Says what kept the command from being started.
fn report(err: &anyhow::Error) -> u8 {
    let _ = user_error::report("piku-chroot", err);
    if let Some(mend) = diagnosis::mend(err) {
        user_error::tell(&format!("hint: {mend}"));
    }
    SETUP
}
