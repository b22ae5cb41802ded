//! From a work tree to a release: which runtime an app is of (`detect`), what would be done (`plan`), and doing it
//! (`build`); and from one machine to another: a release as one stream (`pack`, `unpack`). Everything an app's author got wrong is explained by `errors`; each runtime is one file in `runtime/`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod app;
mod build;
mod cli;
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

/// The command line, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::command()
}

/// Checks that a packed release runs on a machine of this kind, by its head alone.
///
/// # Errors
/// When it needs another kind, or this is no head.
pub fn check_head(head: &[u8], machine: &TargetMachine) -> anyhow::Result<()> {
    pack::check_head(head, machine)
}
