//! Workers: started, checked, logged, restarted, replaced without a gap.

pub mod config;
pub mod core;
pub mod listening;
pub mod log;
pub mod output;
pub mod port;
pub mod probe;
pub mod ps;
pub mod releases;
pub mod sample;
pub mod tree;

/// Runs the tool.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
