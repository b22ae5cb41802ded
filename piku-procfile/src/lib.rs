//! What an app says about itself, and the names and places the tools agree on.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod atomic_file;
mod cli;
pub mod clock;
pub mod command;
pub mod deploy_attempt;
pub mod diagnostic;
pub mod disk;
pub mod env;
mod input;
pub mod layout;
pub mod listen_ports;
pub mod name;
pub mod output;
pub mod procfile;
pub mod render;
pub mod schedule;
pub mod settings;
mod source;
pub mod terminal;
mod tool;
pub mod user_error;

use std::process::ExitCode;

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
