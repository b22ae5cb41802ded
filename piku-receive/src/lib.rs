//! piku-receive: the forced command of every key, pushes from the lock to the live release, and what the
//! hook needs for that.
//!
//! Every line of `authorized_keys` runs this tool. Nothing that a client sends reaches a shell.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod app_context;
mod child_env;
mod cli;
mod client;
mod deploy;
mod distribute;
mod exit_status;
mod export;
mod key;
mod limits;
mod push;
mod relay;
mod release;
mod repository;
mod session;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use jiff::{Timestamp, Unit};
use piku_report::{caller, user_error};

/// Parses the command line and runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    let mut name = "piku-receive";
    let done = caller::parse_arguments(command(), std::env::args_os()).and_then(|matches| {
        let cli = cli::ReceiveCli::from_arg_matches(&matches).unwrap_or_else(|err| err.exit());
        if cli.is_session() {
            // The client has called none of the tools.
            name = "piku";
        }
        cli.run()
    });
    done.unwrap_or_else(|err| user_error::report(name, &err))
}

/// Returns the command line, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::ReceiveCli::command()
}

/// Returns the current time in whole seconds, as records spell it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now)
}
