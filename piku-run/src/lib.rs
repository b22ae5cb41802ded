//! Workers: started, checked, logged, restarted, replaced without a gap.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod cli;
mod client;
mod clients;
mod commands;
pub mod config;
pub mod core;
mod cron;
mod current_release;
mod daemon;
mod desired;
mod drain;
mod garbage;
mod home;
mod launch;
pub mod listening;
mod lock;
pub mod log;
mod notify;
pub mod port;
pub mod probe;
pub mod process;
mod process_environment;
mod process_family;
mod protections;
mod protocol;
pub mod ps;
mod reap;
mod record;
pub mod releases;
mod socket;
mod start;
mod supervisor;
mod sys;
mod tree;
pub mod usage;
mod wait;
mod web;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use piku_report::user_error;

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    commands::own(&words)
        .unwrap_or_else(|| commands::run(cli::RunCli::parse()))
        .unwrap_or_else(|err| user_error::report("piku-run", &err))
}

/// The command line, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::RunCli::command()
}
