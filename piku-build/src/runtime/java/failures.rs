//! Rules that explain a failed Maven, Gradle or javac, and the lines with the errors of the app's own code.

use piku_report::user_error::UserError;

use crate::errors::failure_rule::{FailedStep, FailureRule};
use crate::errors::{step_failed, with_lines};
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
const WRAPPER: &[&str] = &[
    "org.gradle.wrapper",
    "gradle-wrapper",
    "maven.wrapper",
    "Failed to fetch",
    "apache-maven-",
    "wget:",
    "curl:",
];
const WRAPPER_FAILED: &str = "the wrapper cannot fetch the version of the tool that it pins: {line}";
const WRAPPER_HINT: &[&str] =
    &["is the machine online? without the wrapper's script the machine's own mvn or gradle is used"];

/// The largest number of errors that are repeated.
const REPEATED: usize = 5;
/// Lines of Maven that are the same after every failure.
const BOILERPLATE: [&str; 9] = [
    "-> [Help",
    "[Help ",
    "To see the full stack trace",
    "Re-run Maven",
    "For more information about",
    "-----",
    "realm =",
    "strategy =",
    "urls[",
];

const RULES: [FailureRule; 11] = [
    FailureRule::no_space(&["No space left on device"]),
    FailureRule::new(
        &["Source option * is no longer supported", "Target option * is no longer supported"],
        "the build file asks for the language of Java {capture}, which this JDK no longer compiles",
        &[
            "pom.xml: <properties><maven.compiler.release>17</maven.compiler.release></properties>; build.gradle: sourceCompatibility = 17; a pom.xml without one gets Java 5 from old Maven plugins",
            "or ask for an older JDK that the machine has: a file system.properties with the line 'java.runtime.version=8'",
        ],
    )
    .repeat(2),
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
    FailureRule::new(
        &["due to an API incompatibility"],
        "a plugin of Maven is too old for this Java or this Maven: {line}",
        &["name a newer version of it in pom.xml, or let 'mvn wrapper:wrapper' pin the Maven that you use, and commit it"],
    ),
    FailureRule::new(
        &["Not a valid command: stage", "Not a valid key: stage"],
        "sbt knows no task 'stage', which makes what is started",
        &[
            "project/plugins.sbt: addSbtPlugin(\"com.github.sbt\" % \"sbt-native-packager\" % \"1.10.4\"), and in build.sbt: enablePlugins(JavaAppPackaging)",
            "SBT_TASKS in ENV names other tasks, such as 'assembly'",
        ],
    ),
    FailureRule::call(&[".java:", ".kt:", ".groovy:", ".scala:"], compile_errors),
    FailureRule::new(UNREACHABLE, WRAPPER_FAILED, WRAPPER_HINT).also(WRAPPER),
    FailureRule::new(
        &[
            "Could not install Gradle",
            "Server returned HTTP response code",
            "FileNotFoundException: http",
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
    failed.explain(&RULES).unwrap_or_else(|| step_failed(step, outcome, &errors(&failed)))
}

/// Lifts the errors of the compiler, with the file, the line and the symbol that it cannot find.
fn compile_errors(step: &FailedStep<'_>) -> Option<UserError> {
    let mut shown: Vec<String> = Vec::new();
    for (at, line) in step.lines.iter().enumerate() {
        let is_error = line.contains(".java:[")
            || line.contains(".groovy: ")
            || [".java:", ".kt:", ".scala:"].iter().any(|name| line.contains(name))
                && line.contains(" error: ")
            || line.starts_with("e: ")
            || line.contains(".kt: (")
            || line.contains(".scala:") && line.contains("error:")
            // sbt's warnings keep their mark in front.
            || line.starts_with("/app/") && line.contains(".scala:");
        if !is_error || line.contains("warning:") || line.contains("[WARNING]") {
            continue;
        }
        let place = line.find("/app/").map_or(*line, |at| &line[at + "/app/".len()..]);
        let symbol = step.lines[at + 1..].iter().take(4).find_map(|next| next.strip_prefix("symbol:"));
        let error = match symbol {
            Some(symbol) => format!("{place}: {}", symbol.trim()),
            None => place.to_owned(),
        };
        // Maven says everything twice.
        if !shown.contains(&error) {
            shown.push(error);
        }
    }
    shown.truncate(REPEATED);
    (!shown.is_empty()).then(|| with_lines("the app's code does not compile", &shown))
}

/// Returns what Maven calls errors, or what Gradle says went wrong.
fn errors(step: &FailedStep<'_>) -> Vec<String> {
    let is_boilerplate = |line: &str| BOILERPLATE.iter().any(|text| line.starts_with(text));
    let maven = step.outcome.lines.iter().filter_map(|line| line.trim().strip_prefix("[ERROR] "));
    let gradle = step.lines.iter().skip_while(|line| !line.starts_with("* What went wrong")).skip(1);
    let gradle = gradle.take_while(|line| !line.starts_with("* ")).copied();
    let mut shown: Vec<String> = Vec::new();
    for line in maven.chain(gradle).map(str::trim) {
        if !line.is_empty() && !is_boilerplate(line) && !shown.iter().any(|known| known == line) {
            shown.push(line.to_owned());
        }
    }
    shown.truncate(REPEATED);
    shown
}

fn clean(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_prefix("[error]").or_else(|| line.strip_prefix("[ERROR] ")).unwrap_or(line);
    line.trim_start().trim_end_matches('.')
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
            (
                "Exception in thread \"main\" java.io.FileNotFoundException: https://x.example/apache-maven-3.6.0-bin.zip\n at org.apache.maven.wrapper.Installer",
                "that it pins: Exception in thread \"main\" java.io.FileNotFoundException: https://x.example/apache",
            ),
            ("* What went wrong:\nTask 'test' not found in root project 'x'.", "Task 'test' not found"),
            (
                "[ERROR] /app/src/A.java:[2,22] cannot find symbol\n  symbol:   variable nothing\n  location: class A\n\
                 [ERROR] Failed to execute goal x:compile: Compilation failure: \n\
                 [ERROR] /app/src/A.java:[2,22] cannot find symbol\n[ERROR]   symbol:   variable nothing\n",
                "the app's code does not compile\n  src/A.java:[2,22] cannot find symbol: variable nothing",
            ),
            (
                ":compileJava/app/src/A.java:3: error: incompatible types: int cannot be converted to String\n\
                 \x20   String y() { return 5; }\n* What went wrong:\nExecution failed for task ':compileJava'.\n",
                "compile\n  src/A.java:3: error: incompatible types: int cannot be converted to String",
            ),
            (
                "e: file:///app/src/App.kt:3:5 Unresolved reference 'x'.",
                "src/App.kt:3:5 Unresolved reference 'x'",
            ),
            (
                "[ERROR] COMPILATION ERROR : \n[ERROR] Source option 5 is no longer supported. Use 7 or later.\n",
                "the language of Java 5, which this JDK no longer compiles\n  Source option 5 is no longer",
            ),
            (
                "[ERROR] Failed to execute goal org.x:y:1:run (z) on project b: it is broken -> [Help 1]\n[ERROR] \n\
                 [ERROR] Re-run Maven using the -X switch to enable full debug logging.\n",
                "step 'mvn' failed with exit code 1\n  Failed to execute goal org.x:y:1:run (z) on project b: it is broken",
            ),
            (
                "[ERROR] Unable to load the mojo 'war' in the plugin 'x:maven-war-plugin:2.2' due to an API incompatibility: y",
                "a plugin of Maven is too old for this Java or this Maven: Unable to load the mojo 'war'",
            ),
            (
                "[warn] /app/src/A.scala:1:2: unused\n[error] /app/src/A.scala:5:10: not found: value x\n[error]     x\n",
                "compile\n  src/A.scala:5:10: not found: value x",
            ),
            ("[error] Not a valid command: stage (similar: state)", "sbt knows no task 'stage'"),
            (
                "* What went wrong:\nA problem occurred evaluating root project 'x'.\n> it is broken\n\n* Try:\nRun with",
                "> it is broken",
            ),
        ] {
            let lines = text.lines().map(str::to_owned).collect();
            let told =
                explain("mvn", &StepOutcome { code: 1, lines, out_of_memory: false, peak: 0 }).to_string();
            assert!(told.contains(reason), "{text} -> {told}");
        }
    }
}
