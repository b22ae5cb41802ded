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

mod app_file;
mod app_folder;
mod app_source;
mod build;
mod build_context;
mod build_step;
mod build_target;
mod caches;
mod cli;
mod combined_plan;
mod command_check;
mod copy;
mod edition;
mod elf;
mod environment;
mod explain;
mod foreign;
mod found;
mod generated_secret;
mod hard_link;
mod hash;
mod host_paths;
mod interrupt;
mod kept_tree;
mod memory;
mod native;
mod oom_score;
mod pack;
mod packages;
mod plan;
mod plan_report;
mod print_plan;
mod priority;
mod profile;
mod programs;
mod rebuild;
mod release_builder;
mod root_view;
mod runtime;
mod sandbox;
mod step_mount;
mod step_output;
mod step_runner;
mod stray_processes;
mod tree_comparison;
mod tree_layer;
mod unchanged;
mod work_folder;

use std::process::ExitCode;

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
pub fn check_head(head: &[u8], machine: &machine::TargetMachine) -> anyhow::Result<()> {
    pack::check_head(head, machine)
}
