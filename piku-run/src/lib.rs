//! Workers: started, checked, logged, restarted, replaced without a gap.

pub mod core;

/// Runs the tool.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
