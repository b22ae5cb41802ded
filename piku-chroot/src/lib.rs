//! Runs a command in a jail made of namespaces, without root: a small read-only root, no capabilities, no
//! inherited descriptors, and only the variables that the caller declares.
//!
//! The jail is a tool without a policy: its caller says what is let in. [`jail`] is the caller's side and
//! writes the command line; `cli` parses it and `plan` turns it into checked values. `monitor` is the process
//! that stays outside, `init` is process 1 inside, which makes the `root` and starts the command under
//! `confinement` and [`limits`].

#![expect(
    clippy::disallowed_methods,
    reason = "the jail handles the host's own files, /proc, cgroups and the root that it makes; it opens a source by \
              descriptor without following links, and mounts it instead of reading it"
)]

pub mod jail;
pub mod limits;
pub mod profile;
pub mod report;

mod check;
mod cli;
mod confinement;
mod errors;
mod fd_channel;
mod hostfiles;
mod ids;
mod init;
mod monitor;
mod namespaces;
mod network;
mod plan;
mod prepared;
mod root;
mod scratch;
mod signal_wait;
mod sys;
mod terminal;

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

pub use confinement::landlock::can_restrict_ports;
pub use errors::SETUP_FAILED;
pub use ids::ranges::SUBORDINATE_ID_FILES;
pub use ids::{may_lend_group, rename_own_user};
pub use network::find_pasta;
pub use plan::{BASE_DIRECTORIES, DEFAULT_PATH};
pub use root::watch::HostRootWatch;
pub use scratch::check_kept_path;
pub use sys::release_memory;

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    exit_on_panic();
    let cli = match cli::ChrootCli::from_process() {
        Ok(cli) => cli,
        Err(err) => {
            let failed = err.use_stderr();
            // A closed stderr does not change the exit code.
            let _ = err.print();
            return if failed { ExitCode::from(errors::SETUP_FAILED) } else { ExitCode::SUCCESS };
        }
    };
    ExitCode::from(run(cli).unwrap_or_else(|err| errors::print_error(&err)))
}

/// Makes a panic end the process by an exit. An abort would signal the thread that the C library knows; in a process that a system
/// call has cloned, that is musl's number of the parent's thread.
fn exit_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::exit(errors::SETUP_FAILED.into());
    }));
}

/// Returns the command line, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::ChrootCli::command()
}

fn run(cli: cli::ChrootCli) -> Result<u8> {
    let (check, format, quiet) = (cli.check, cli.format, cli.quiet);
    let plan = plan::JailPlan::new(&cli, std::env::vars_os())?;
    drop(cli);
    match () {
        () if check => check::run(&plan, format, quiet),
        () if plan.prepare => prepared::send_new(&plan),
        () => monitor::run(plan),
    }
}
