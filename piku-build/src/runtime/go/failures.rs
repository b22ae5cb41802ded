//! Why `go build` failed. What the compiler says about the app's own code is its best explanation; this finds the rest.

use piku_report::user_error::UserError;

use crate::errors;
use crate::step::build_step::StepOutcome;

const NO_SPACE: [&str; 2] = ["no space left on device", "disk quota exceeded"];
const NETWORK: [&str; 6] = [
    "no such host",
    "network is unreachable",
    "connection refused",
    "i/o timeout",
    "TLS handshake timeout",
    "Temporary failure in name resolution",
];
const NOT_TIDY: [&str; 5] = [
    "missing go.sum entry",
    "updates to go.mod needed",
    "no required module provides package",
    "go.mod file not found",
    "go: updates to go.sum needed",
];
const NO_COMPILER: [&str; 2] = ["C compiler \"gcc\" not found", "\"gcc\": executable file not found"];
const NO_MODULE: [&str; 5] = [
    "terminal prompts disabled",
    "404 Not Found",
    "410 Gone",
    "unknown revision",
    "executable file not found in $PATH",
];
/// How many of Go's own lines are repeated.
const REPEATED: usize = 4;

/// The reason of a failed step, as its author is told.
pub(super) fn explain(step: &str, ended: &StepOutcome, version: &str) -> UserError {
    let any = |texts: &[&str]| ended.saying(texts, REPEATED);
    if ended.code == 137 || !any(&["signal: killed"]).is_empty() {
        return errors::step_failed(step, &StepOutcome { code: 137, lines: Vec::new(), ..*ended }, &[]);
    }
    if !any(&NO_SPACE).is_empty() {
        return errors::no_space(step);
    }
    if let Some(at) = ended.lines.iter().position(|line| line.contains("errors parsing ")) {
        let wrong: Vec<_> =
            ended.lines[at + 1..].iter().map(|line| line.trim().to_owned()).take(REPEATED).collect();
        let file = ended.lines[at].rsplit("errors parsing ").next().unwrap_or_default();
        return errors::go::bad_module(file.trim_end_matches(':'), &wrong);
    }
    if let Some(line) =
        any(&["toolchain not available", "download go1", "cannot find module providing toolchain"]).first()
    {
        return errors::go::no_toolchain(version, line);
    }
    if let Some(line) = any(&NETWORK).first() {
        return errors::go::no_network(line);
    }
    let lines = any(&NO_COMPILER);
    if !lines.is_empty() {
        return errors::go::no_compiler(&lines);
    }
    let lines = any(&["inconsistent vendoring", "-mod=vendor"]);
    if !lines.is_empty() {
        return errors::go::stale_vendor(&lines);
    }
    let lines = any(&NOT_TIDY);
    if !lines.is_empty() {
        return errors::go::not_tidy(&lines);
    }
    if let Some(line) = any(&NO_MODULE).first() {
        return errors::go::no_module(line);
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
                "go.mod is not understood by go\n  go.mod:1: unexpected input character '\\ufeff'",
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
