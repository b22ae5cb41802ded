//! Why Maven, Gradle or javac failed. What the compiler says about the app's own code is its best explanation; this finds the
//! rest.

use piku_report::user_error::UserError;

use crate::errors;
use crate::step::build_step::StepOutcome;

/// How many of the tool's own lines are repeated.
const REPEATED: usize = 3;

/// The reason of a failed step, as its author is told.
pub(super) fn explain(step: &str, ended: &StepOutcome) -> UserError {
    let any = |texts: &[&str]| -> Vec<String> {
        let told = ended.saying(texts, REPEATED).into_iter();
        told.map(|line| line.trim_start_matches("[ERROR] ").to_owned()).collect()
    };
    if ended.code == 137 {
        return errors::step_failed(step, ended, &[]);
    }
    if !any(&["No space left on device"]).is_empty() {
        return errors::no_space(step);
    }
    let lines = any(&[
        "release version",
        "invalid target release",
        "invalid source release",
        "Unsupported class file major version",
        "UnsupportedClassVersionError",
    ]);
    if !lines.is_empty() {
        return errors::java::other_java(&lines);
    }
    let network = [
        "UnknownHostException",
        "Unknown host",
        "Connection refused",
        "connect timed out",
        "Network is unreachable",
        "Temporary failure in name resolution",
    ];
    let unreachable = any(&network);
    let fetches =
        !any(&["org.gradle.wrapper", "gradle-wrapper", "Failed to fetch", "apache-maven-", "wget:", "curl:"])
            .is_empty();
    let fetching = any(&[
        "Could not install Gradle",
        "Server returned HTTP response code",
        "Failed to fetch",
        "cannot download",
        "ZipException",
    ]);
    if fetches && (!unreachable.is_empty() || !fetching.is_empty()) {
        let line = unreachable.iter().chain(&fetching).next();
        return errors::java::wrapper_unreachable(line.map_or("", String::as_str));
    }
    if let Some(line) = unreachable.first() {
        return errors::java::no_network(line);
    }
    if let Some(line) = any(&[
        "Could not find artifact",
        "was not found in",
        "Could not resolve dependencies",
        "Could not find ",
    ])
    .first()
    {
        return errors::java::missing_artifact(line);
    }
    if let Some(line) = any(&["not found in root project", "not found in project"])
        .first()
        .filter(|line| line.starts_with("Task '"))
    {
        return errors::java::no_task(line);
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
