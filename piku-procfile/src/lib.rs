//! What an app says about itself, and the names and places the tools agree on.

pub mod command;
pub mod durable;
pub mod failure;
pub mod layout;
pub mod name;
pub mod settings;

/// Runs the tool.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
