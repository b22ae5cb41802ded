//! Workers: started, checked, logged, restarted, replaced without a gap.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod cli;
mod commands;
pub mod config;
pub mod core;
mod cron;
mod daemon;
mod desired;
mod garbage;
pub mod instance;
mod ipc;
mod lock;
mod log;
mod log_forwarding;
mod nginx;
pub mod ports;
pub mod process;
mod protections;
pub mod releases;
mod start;
mod supervisor;

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
