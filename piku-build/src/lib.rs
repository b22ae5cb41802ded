//! Builds releases from app trees: `detect` finds the runtimes, `plan` shows what a build does, `build` does
//! it; `pack` and `unpack` transfer a release as a stream.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod app;
mod build;
mod cli;
mod compiled;
mod errors;
mod native;
mod pack;
mod plan;
mod rebuild;
mod runtime;
mod step;
mod store;
mod tree;

use std::process::ExitCode;

use piku_release::machine::TargetMachine;
use piku_report::user_error;

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(err) => user_error::report("piku-build", &err),
    }
}

/// Returns the command line, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::command()
}

/// Checks from the head alone that a packed release runs on `machine`.
///
/// # Errors
/// Fails if it needs another machine, or `head` is not a head.
pub fn check_head(head: &[u8], machine: &TargetMachine) -> anyhow::Result<()> {
    pack::check_head(head, machine)
}
