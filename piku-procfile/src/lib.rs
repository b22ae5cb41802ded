//! Parsers of the two files an app ships, Procfile and ENV, and the configuration of other programs that
//! is rendered from them.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod cli;
pub mod command;
pub mod env;
mod layout_marks;
pub mod listen_ports;
pub mod misspelt;
pub mod procfile;
mod quoting;
mod read_file;
pub mod render;
pub mod schedule;
pub mod writable_paths;

use std::process::ExitCode;

use piku_report::user_error;

/// Returns the command line of the tool, for its manual and completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::command()
}

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    match cli::run::run_action(cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => user_error::report("piku-procfile", &err),
    }
}
