//! The door: who may push what, the repository on first push, the lock, the verdict, and the tree of a commit.
//!
//! Every line of `authorized_keys` has this tool as its forced command. Nothing that a client sends reaches a shell.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod app_context;
mod audit;
mod begin_deploy;
mod branch;
mod cancel;
mod child_env;
mod cli;
mod deploy;
mod deploy_verdict;
mod export;
mod git;
mod git_leftovers;
mod key;
mod key_session;
mod limits;
mod live;
mod lock;
mod now;
mod pre_receive;
mod progress;
mod push;
mod push_options;
mod record;
mod refs;
pub mod release;
mod repo;
pub mod request;
mod sha256;
mod ship;
mod verb;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use piku_report::user_error;

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let done =
        cli::ReceiveCli::from_arg_matches(&matches).map_or_else(|err| err.exit(), cli::ReceiveCli::run);
    done.unwrap_or_else(|err| user_error::report("piku-receive", &err))
}

/// The command line, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::ReceiveCli::command()
}
