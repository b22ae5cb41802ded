//! From a work tree to a release: which runtime an app is of (`detect`), what would be done (`plan`), and doing it
//! (`build`); and from one machine to another: a release as one stream (`pack`, `unpack`). Everything an app's author got wrong is explained by `explain`; each runtime is one file in `runtime/`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod architecture;
pub mod folded;
pub mod layer;
pub mod machine;
pub mod received;
pub mod release;
pub mod target;

mod again;
mod app_file;
mod bench;
mod build;
mod caches;
mod cli;
mod copy;
mod difference;
mod edition;
mod elf;
mod environment;
mod explain;
mod foreign;
mod found;
mod hash;
mod inside;
mod interrupt;
mod kept;
mod leftover;
mod making;
mod manners;
mod memory;
mod native;
mod oom_score;
mod pack;
mod packages;
mod place;
mod plan;
mod profile;
mod programs;
mod rebuild;
mod room;
mod runtime;
mod sandbox;
mod secret;
mod share;
mod show;
mod shown;
mod site;
mod source;
mod startable;
mod step;
mod step_output;
mod subfolder;
mod talk;
mod tree_layer;
mod view;
mod whole;
mod work;

use std::process::ExitCode;

use piku_procfile::{disk, failure};

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(err) => failure::report("piku-build", &err),
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
pub fn check_head(head: &[u8], machine: &machine::TargetMachine) -> anyhow::Result<()> {
    pack::check_head(head, machine)
}
