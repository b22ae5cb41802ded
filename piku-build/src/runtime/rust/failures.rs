//! Rules that explain a failed `cargo build`. An error in the app's own code needs none: the compiler
//! explains it best.

use piku_report::user_error::UserError;

use crate::errors::failure_rule::{FailedStep, FailureRule};
use crate::errors::{GIT_REFUSED, ONLINE, PRIVATE_GIT, rust, step_failed};
use crate::step::build_step::StepOutcome;

/// The largest number of cargo's own lines that are repeated.
const REPEATED: usize = 4;

const RULES: [FailureRule; 12] = [
    FailureRule::killed(&["signal: 9, SIGKILL"]),
    FailureRule::no_space(&["No space left on device", "os error 28"]),
    FailureRule::new(
        &["because --locked was passed", "but --locked was passed"],
        "Cargo.lock does not fit Cargo.toml",
        &["run 'cargo build' and commit Cargo.lock"],
    )
    .repeat(REPEATED),
    FailureRule::new(
        &[
            "lock file version",
            "requires rustc 1",
            "requires Cargo feature",
            "is not supported by the active toolchain",
        ],
        "the app's dependencies need a newer Rust than this machine has",
        &[rust::INSTALL_NEWER, "or commit a Cargo.lock with older versions"],
    )
    .repeat(REPEATED),
    FailureRule::new(
        &[
            "Could not resolve host",
            "failed to connect",
            "Could not connect",
            "spurious network error",
            "Timeout was reached",
        ],
        "cargo cannot reach the package registry: {line}",
        &[ONLINE],
    ),
    FailureRule::new(GIT_REFUSED, "a git repository in Cargo.toml cannot be fetched: {line}", &[PRIVATE_GIT]),
    FailureRule::new(
        &["failed to authenticate when downloading repository", "authentication required"],
        "a git repository in Cargo.toml cannot be fetched: {line}",
        &[PRIVATE_GIT],
    ),
    FailureRule::new(
        &["unable to update http", "unable to update git", "unable to update ssh", "failed to clone into"],
        "a git repository in Cargo.toml cannot be fetched: {line}",
        &["is it still there, with the revision of Cargo.lock? a released version from crates.io needs no git", PRIVATE_GIT],
    ),
    FailureRule::new(
        &["failed to read `/*/Cargo.toml`"],
        "Cargo.toml has a dependency by its path that is outside of the app: /{capture}",
        &["push the workspace that contains both; a line 'APP_DIR=FOLDER' in its ENV makes a folder of it the app, a Procfile starts one of its programs"],
    ),
    FailureRule::call(&["linker `cc` not found"], |_| Some(rust::no_linker())),
    FailureRule::new(
        &["pkg-config has not been configured to support cross-compilation"],
        "a dependency needs a C library of the machine that the release is for",
        &["a feature of the dependency may build the library from source (\"vendored\", \"bundled\"), or do without it (rustls)"],
    )
    .repeat(REPEATED),
    FailureRule::new(
        &[
            "pkg-config",
            "Could not find directory of OpenSSL",
            "is `cmake` not installed",
            "Unable to find libclang",
        ],
        "a dependency needs a C library or a tool that is missing on the machine",
        &["on the machine: apt install pkg-config and the library's -dev package, such as libssl-dev"],
    )
    .also(&["failed to run custom build command"])
    .repeat(REPEATED),
];

/// Explains a failed step.
pub(super) fn explain(step: &str, outcome: &StepOutcome) -> UserError {
    let failed = FailedStep::new(step, outcome, str::trim);
    failed.explain(&RULES).unwrap_or_else(|| step_failed(step, outcome, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_explained() {
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
            (
                "Caused by:\n  unable to update /shop-core\nCaused by:\n  failed to read `/shop-core/Cargo.toml`",
                "outside of the app: /shop-core",
            ),
            (
                "error: failed to get `x` as a dependency\nCaused by:\n  unable to update https://git.example/x.git#1\nCaused by:\n  revision 1 not found",
                "cannot be fetched: unable to update https://git.example/x.git#1",
            ),
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
