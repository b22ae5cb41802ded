//! Runs apps: starts, checks, logs and restarts their instances, and replaces them without downtime.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod app_request;
mod backup_plans;
mod cli;
mod commands;
mod config;
mod core;
mod cron;
mod daemon;
mod data_limit;
mod desired;
mod folder_moves;
mod garbage;
mod grants;
mod host_problem;
mod instance;
mod ipc;
mod known_apps;
mod kubernetes;
mod live_samples;
mod lock;
mod log;
mod log_forwarding;
mod nginx;
mod notify;
mod ports;
mod process;
mod protections;
mod releases;
mod samples;
mod services;
mod start;
mod status;
mod supervisor;
mod time_text;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use piku_report::user_error;

/// Name of the tool.
const TOOL: &str = "piku-run";

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    commands::run_words(&words).unwrap_or_else(|err| user_error::report(TOOL, &err))
}

/// Returns the command-line definition, for the manual and the completions.
#[must_use]
pub fn command() -> clap::Command {
    cli::RunCli::command()
}
