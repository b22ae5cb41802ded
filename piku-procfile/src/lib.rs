//! What an app says about itself, and the names and places the tools agree on.

pub mod command;
pub mod diagnostic;
pub mod durable;
pub mod env;
pub mod failure;
pub mod layout;
pub mod name;
pub mod procfile;
mod schedule;
pub mod settings;
mod source;

/// Runs the tool.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
