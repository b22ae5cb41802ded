//! Rules that explain a failed `go build`. An error in the app's own code needs none: the compiler explains
//! it best.

use piku_report::user_error::UserError;

use crate::errors::failure_rule::{FailedStep, FailureRule};
use crate::errors::{PRIVATE_GIT, step_failed, with_lines};
use crate::step::build_step::StepOutcome;

/// The largest number of Go's own lines that are repeated.
const REPEATED: usize = 4;

const RULES: [FailureRule; 10] = [
    FailureRule::killed(&["signal: killed"]),
    FailureRule::no_space(&["no space left on device", "disk quota exceeded"]),
    FailureRule::call(&["errors parsing "], bad_module),
    FailureRule::new(
        &["toolchain not available", "download go1", "cannot find module providing toolchain"],
        "Go {version} is not on this machine and cannot be fetched: {line}",
        &[
            "is it a release? a go line names the oldest Go that will do: write 'go 1.22' instead of a newer one than is needed",
            "or install it on the machine in /usr/local/go",
        ],
    ),
    FailureRule::new(
        &[
            "no such host",
            "network is unreachable",
            "connection refused",
            "i/o timeout",
            "TLS handshake timeout",
            "Temporary failure in name resolution",
        ],
        "go cannot reach the module proxy: {line}",
        &[
            "is the machine online? behind a proxy, set HTTPS_PROXY in build_env of host.yaml (GOPROXY for a mirror); then push again",
        ],
    ),
    FailureRule::new(
        &["C compiler \"gcc\" not found", "\"gcc\": executable file not found"],
        "the app has C code, and the machine has no C compiler",
        &["on the machine: apt install gcc libc6-dev; without C code: CGO_ENABLED=0 in ENV"],
    )
    .repeat(REPEATED),
    FailureRule::new(
        &["inconsistent vendoring", "-mod=vendor"],
        "vendor/ does not fit go.mod",
        &["run 'go mod vendor' and commit vendor/"],
    )
    .repeat(REPEATED),
    FailureRule::new(
        &["go.mod file not found"],
        "the app uses packages and has no go.mod",
        &["on your machine: go mod init example.org/NAME && go mod tidy; commit go.mod and go.sum"],
    )
    .repeat(REPEATED),
    FailureRule::new(
        &[
            "missing go.sum entry",
            "updates to go.mod needed",
            "no required module provides package",
            "go: updates to go.sum needed",
        ],
        "go.mod and go.sum do not list all that the code needs",
        &["run 'go mod tidy' and commit go.mod and go.sum"],
    )
    .repeat(REPEATED),
    FailureRule::new(
        &[
            "terminal prompts disabled",
            "Permission denied (publickey",
            "404 Not Found",
            "410 Gone",
            "unknown revision",
            "executable file not found in $PATH",
        ],
        "a module cannot be fetched: {line}",
        &["is it private? 'go mod vendor' puts a copy into the repository; commit vendor/", PRIVATE_GIT],
    ),
];

/// Explains a failed step; `version` is the Go that builds.
pub(super) fn explain(step: &str, outcome: &StepOutcome, version: &str) -> UserError {
    let failed = FailedStep::new(step, outcome, str::trim).with("version", version);
    failed.explain(&RULES).unwrap_or_else(|| step_failed(step, outcome, &[]))
}

/// Explains a bad go.mod: Go prints the file, and then each error in it on a line.
fn bad_module(step: &FailedStep<'_>) -> Option<UserError> {
    let at = step.lines.iter().position(|line| line.contains("errors parsing "))?;
    let file = step.lines[at].rsplit("errors parsing ").next()?.trim_end_matches(':');
    let wrong: Vec<_> = step.lines[at + 1..].iter().take(REPEATED).map(|line| (*line).to_owned()).collect();
    let failure = with_lines(format!("go cannot parse {file}"), &wrong);
    Some(failure.hint(
        "'go mod edit -fmt' says the same on your machine; the file is UTF-8 text without a byte order mark",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_explained() {
        for (text, reason) in [
            (
                "main.go:3:8: missing go.sum entry for module providing package rsc.io/quote; to add:\n\tgo get x",
                "go mod tidy",
            ),
            ("go: inconsistent vendoring in /app:\n\trsc.io/quote@v1: is in go.mod", "go mod vendor"),
            (
                "go: download go1.99.0 for linux/amd64: toolchain not available",
                "1.99.0 is not on this machine",
            ),
            ("go: rsc.io/quote@v1.5.2: dial tcp: lookup proxy.example: no such host", "no such host"),
            (
                "go: errors parsing go.mod:\ngo.mod:1: unexpected input character '\\ufeff'",
                "go cannot parse go.mod\n  go.mod:1: unexpected input character '\\ufeff'",
            ),
            (
                "main.go:3:8: no required module provides package rsc.io/quote: go.mod file not found in current directory",
                "has no go.mod",
            ),
            ("# hello\n./main.go:5:2: undefined: x", "exit code 1"),
            (
                "cgo: C compiler \"gcc\" not found: exec: \"gcc\": executable file not found in $PATH",
                "apt install gcc",
            ),
            (
                "fatal: could not read Username for 'https://example.org': terminal prompts disabled",
                "private",
            ),
        ] {
            let lines = text.lines().map(str::to_owned).collect();
            let ended = StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 };
            let failure = explain("go", &ended, "1.99.0");
            let text_only = failure.to_string();
            let hints = piku_report::user_error::advice(&failure.into()).0.join(" ");
            let told = format!("{text_only} {hints}");
            assert!(told.contains(reason), "{text} -> {told}");
        }
    }
}
