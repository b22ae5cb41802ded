//! What an app says about itself, and the names and places the tools agree on.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod attempt;
mod cli;
pub mod clock;
pub mod command;
pub mod diagnostic;
pub mod disk;
pub mod durable;
pub mod env;
pub mod failure;
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
        Err(err) => failure::report("piku-procfile", &err),
    }
}
