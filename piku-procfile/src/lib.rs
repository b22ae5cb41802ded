//! What an app says about itself, and the names and places the tools agree on.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod cli;
pub mod command;
pub mod env;
mod input;
pub mod listen_ports;
pub mod procfile;
pub mod render;
pub mod schedule;
mod source;
mod tool;

use std::process::ExitCode;

use piku_report::user_error;

/// The tool's command line, for its manual and completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::command()
}

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    match tool::run(cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => user_error::report("piku-procfile", &err),
    }
}
