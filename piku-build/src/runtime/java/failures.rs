//! Rules that explain a failed Maven, Gradle or javac. An error in the app's own code needs none: the compiler explains it best.

use piku_report::user_error::UserError;

use crate::errors::failure_rule::{FailedStep, FailureRule};
use crate::errors::step_failed;
use crate::step::build_step::StepOutcome;

const UNREACHABLE: &[&str] = &[
    "UnknownHostException",
    "Unknown host",
    "Connection refused",
    "connect timed out",
    "Network is unreachable",
    "Temporary failure in name resolution",
];
/// Output of the scripts that fetch the version of Maven or Gradle that an app pins.
const WRAPPER: &[&str] =
    &["org.gradle.wrapper", "gradle-wrapper", "Failed to fetch", "apache-maven-", "wget:", "curl:"];
const WRAPPER_FAILED: &str = "the wrapper cannot fetch the version of the tool that it pins: {line}";
const WRAPPER_HINT: &[&str] =
    &["is the machine online? without the wrapper's script the machine's own mvn or gradle is used"];

const RULES: [FailureRule; 7] = [
    FailureRule::no_space(&["No space left on device"]),
    FailureRule::new(
        &[
            "release version",
            "invalid target release",
            "invalid source release",
            "Unsupported class file major version",
            "UnsupportedClassVersionError",
        ],
        "the app or its build tool does not fit this Java",
        &["ask for another one: a file system.properties with the line 'java.runtime.version=17'"],
    )
    .repeat(3),
    FailureRule::new(UNREACHABLE, WRAPPER_FAILED, WRAPPER_HINT).also(WRAPPER),
    FailureRule::new(
        &[
            "Could not install Gradle",
            "Server returned HTTP response code",
            "Failed to fetch",
            "cannot download",
            "ZipException",
        ],
        WRAPPER_FAILED,
        WRAPPER_HINT,
    )
    .also(WRAPPER),
    FailureRule::new(
        UNREACHABLE,
        "the repository of packages cannot be reached: {line}",
        &[
            "is the machine online? behind a proxy or with your own mirror, name it in the app's .mvn or gradle.properties; then push again",
        ],
    ),
    FailureRule::new(
        &["Could not find artifact", "was not found in", "Could not resolve dependencies", "Could not find "],
        "a dependency cannot be found: {line}",
        &["is the version right? one from your own repository needs that in the build file"],
    ),
    FailureRule::new(
        &["Task '*not found in root project", "Task '*not found in project"],
        "gradle: {line}",
        &[
            "does the build file apply a plugin, such as 'java' or 'application'? GRADLE_TASK in ENV names the task to run",
        ],
    ),
];

/// Explains a failed step.
pub(super) fn explain(step: &str, outcome: &StepOutcome) -> UserError {
    let failed = FailedStep::new(step, outcome, clean);
    failed.explain(&RULES).unwrap_or_else(|| step_failed(step, outcome, &[]))
}

fn clean(line: &str) -> &str {
    line.trim().trim_start_matches("[ERROR] ").trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_explained() {
        for (text, reason) in [
            (
                "[ERROR] Fatal error compiling: error: release version 21 not supported -> [Help 1]",
                "does not fit this Java",
            ),
            (
                "[ERROR] Could not transfer artifact x:y: repo.example: Unknown host repo.example",
                "cannot be reached",
            ),
            ("[ERROR] Could not find artifact org.example:nothing:jar:1 in central", "org.example:nothing"),
            (
                "Exception in thread \"main\" java.net.UnknownHostException: x.example\n at org.gradle.wrapper.Download",
                "wrapper",
            ),
            ("* What went wrong:\nTask 'test' not found in root project 'x'.", "Task 'test' not found"),
            ("[ERROR] /app/src/main/java/A.java:[3,5] cannot find symbol", "exit code 1"),
        ] {
            let lines = text.lines().map(str::to_owned).collect();
            let told =
                explain("mvn", &StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 }).to_string();
            assert!(told.contains(reason), "{text} -> {told}");
        }
    }
}
