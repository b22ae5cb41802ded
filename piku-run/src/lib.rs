//! Workers: started, checked, logged, restarted, replaced without a gap.

pub mod core;
pub mod listening;
pub mod log;
pub mod port;
pub mod probe;
pub mod tree;

/// Runs the tool.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
