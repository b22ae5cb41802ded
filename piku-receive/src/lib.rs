//! The door: who may push what, the repository on first push, the lock, the verdict, and the tree of a commit.
//!
//! Every line of `authorized_keys` has this tool as its forced command. Nothing that a client sends reaches a shell.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod admit;
mod audit;
mod begin_deploy;
mod branch;
mod cancel;
mod cli;
mod deploy;
mod door;
mod export;
mod git;
mod hook;
mod key;
mod limits;
mod live;
mod lock;
mod now;
mod options;
mod push;
mod record;
mod refs;
pub mod release;
mod repo;
pub mod request;
mod sha256;
mod ship;
mod stale;
mod surroundings;
mod talk;
mod verb;
mod verdict;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use piku_procfile::failure;

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let done =
        cli::ReceiveCli::from_arg_matches(&matches).map_or_else(|err| err.exit(), cli::ReceiveCli::run);
    done.unwrap_or_else(|err| failure::report("piku-receive", &err))
}

/// The command line, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::ReceiveCli::command()
}
