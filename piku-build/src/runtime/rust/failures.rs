//! Why `cargo build` failed. What the compiler says about the app's own code is its best explanation; this finds the rest.

use piku_report::user_error::UserError;

use crate::errors;
use crate::step::build_step::StepOutcome;

/// How many of cargo's own lines are repeated.
const REPEATED: usize = 4;

/// The reason of a failed step, as its author is told.
pub(super) fn explain(step: &str, ended: &StepOutcome) -> UserError {
    let any = |texts: &[&str]| ended.saying(texts, REPEATED);
    if ended.code == 137 || !any(&["signal: 9, SIGKILL"]).is_empty() {
        return errors::step_failed(step, &StepOutcome { code: 137, lines: Vec::new(), ..*ended }, &[]);
    }
    if !any(&["No space left on device", "os error 28"]).is_empty() {
        return errors::no_space(step);
    }
    let lines = any(&["because --locked was passed", "but --locked was passed"]);
    if !lines.is_empty() {
        return errors::rust::stale_lock(&lines);
    }
    let lines = any(&[
        "lock file version",
        "requires rustc 1",
        "requires Cargo feature",
        "is not supported by the active toolchain",
    ]);
    if !lines.is_empty() {
        return errors::rust::newer_wanted(&lines);
    }
    let network = [
        "Could not resolve host",
        "failed to connect",
        "Could not connect",
        "spurious network error",
        "Timeout was reached",
    ];
    if let Some(line) = any(&network).first() {
        return errors::rust::no_network(line);
    }
    let lines = any(&["linker `cc` not found"]);
    if !lines.is_empty() {
        return errors::rust::no_linker();
    }
    let lines = any(&["pkg-config has not been configured to support cross-compilation"]);
    if !lines.is_empty() {
        return errors::rust::no_cross_library(&lines);
    }
    let lines = any(&[
        "pkg-config",
        "Could not find directory of OpenSSL",
        "is `cmake` not installed",
        "Unable to find libclang",
    ]);
    if !lines.is_empty() && !any(&["failed to run custom build command"]).is_empty() {
        return errors::rust::no_library(&lines);
    }
    errors::step_failed(step, ended, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_reason() {
        for (text, reason) in [
            (
                "error: cannot update the lock file /app/Cargo.lock because --locked was passed to prevent this",
                "Cargo.lock",
            ),
            (
                "error: rustc 1.63.0 is not supported by the following packages:\n  x@1 requires rustc 1.70",
                "newer Rust",
            ),
            ("error: linker `cc` not found", "linker"),
            ("error[E0425]: cannot find value `x`", "exit code 101"),
            (
                "error: failed to run custom build command for `openssl-sys`\n  The pkg-config command could not be found",
                "C library",
            ),
        ] {
            let lines = text.lines().map(str::to_owned).collect();
            let told = explain("cargo", &StepOutcome { code: 101, lines, out_of_memory: false, peak: 0 })
                .to_string();
            assert!(told.contains(reason), "{text} -> {told}");
        }
    }
}
