//! Output of the tools: errors with hints and an exit code, diagnostics that point into a file, and data
//! on stdout in the form that was asked for.

pub mod caller;
pub mod diagnostic;
pub mod edit_distance;
pub mod number_arg;
pub mod output;
pub mod progress;
pub mod reminder;
pub mod terminal;
pub mod user_error;
