//! Errors of Java apps.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use piku_procfile::procfile::ProcfileEntry;
use piku_report::user_error::UserError;

use super::{NOT_A_VERSION, join_names};
use crate::runtime::RequestedVersion;

pub(crate) fn no_jdk() -> UserError {
    UserError::new("this is a Java app, recognised, but the machine has no JDK in /usr/lib/jvm")
        .hint("apt install default-jdk-headless")
}

pub(crate) fn bad_version(requested: &RequestedVersion) -> UserError {
    requested.malformed("Java", NOT_A_VERSION).hint("examples: 17, 21.0.2, 1.8")
}

pub(crate) fn too_old(feature: u32, requested: &RequestedVersion, installed: &[impl Display]) -> UserError {
    requested.unmet("Java", installed).hint(format!(
        "apt install openjdk-{feature}-jdk-headless, where Debian has it, or another JDK in /usr/lib/jvm"
    ))
}

pub(crate) fn nothing_built(tool: &str, folders: &[&str]) -> UserError {
    let folders: Vec<_> = folders.iter().map(|folder| format!("{folder}/")).collect();
    UserError::new(format!("{tool} succeeded but made no jar, war or program in {}", folders.join(" or ")))
        .hint("is the code where the tool looks for it, such as src/main/java? a project that packages 'pom' makes none")
        .hint("GRADLE_TASK or MAVEN_CUSTOM_GOALS in ENV name other tasks to run")
}

/// The reason to look for a program, in front of why there is none.
pub(crate) const NO_PROCFILE: &str = "the app has no Procfile";

/// Returns the reason to look for a program in place of a build tool's command.
pub(crate) fn starts_what_is_built(entry: &ProcfileEntry, command: &str) -> String {
    format!("Procfile: {}: '{command}' starts what the build makes", entry.name)
}

pub(crate) fn no_runnable(why: &str, found: &[PathBuf]) -> UserError {
    let failure = if found.is_empty() {
        UserError::new(format!("{why}, and no jar names a main class in its manifest"))
    } else {
        let names: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
        UserError::new(format!(
            "{why}, and it is not obvious which of these to start: {}",
            join_names(&names)
        ))
    };
    let example =
        found.first().map_or_else(|| "target/app.jar".to_owned(), |path| path.display().to_string());
    let failure =
        failure.hint(format!("add a file 'Procfile' with a line such as 'web: java -jar {example}'"));
    if !found.is_empty() {
        return failure;
    }
    failure.hint(
        "a jar that starts names its Main-Class and has the dependencies inside: maven-shade-plugin or spring-boot-maven-plugin in \
         pom.xml, the plugin 'application' or shadow in build.gradle",
    )
}

/// The build makes only a war, which is no program by itself.
pub(crate) fn only_a_war(why: &str, war: &Path) -> UserError {
    UserError::new(format!(
        "{why}, and '{}' is no program by itself: it needs a servlet container",
        war.display()
    ))
    .hint(format!(
        "let the build copy one beside it, such as com.heroku:webapp-runner-main to target/dependency/webapp-runner.jar, and \
         add a Procfile with the line 'web: java $JAVA_OPTS -jar target/dependency/webapp-runner.jar --port $PORT {}'",
        war.display()
    ))
}

pub(crate) fn no_sbt() -> UserError {
    UserError::new("this is a Scala app, recognised, but 'sbt' is missing, in the app and on this machine")
        .hint("commit sbt's launcher script as 'sbt' at the top of the app, or have the operator put it into /usr/local/bin")
        .hint("or commit what your machine builds, such as a jar of sbt-assembly, and a Procfile that starts it")
}

/// A process type starts classes by Maven, and nothing says which.
pub(crate) fn no_class_to_run(entry: &ProcfileEntry, command: &str) -> UserError {
    UserError::new(format!(
        "Procfile: {}: '{command}' names no class: neither exec.mainClass nor <mainClass> in pom.xml",
        entry.name
    ))
    .hint("add -Dexec.mainClass=org.example.Main")
}

/// A process type starts a build tool that starts the app.
pub(crate) fn run_goal_replaced(entry: &ProcfileEntry, command: &str) -> String {
    format!(
        "Procfile: {}: '{command}' compiles the app at each start: the program that this build makes is started instead",
        entry.name
    )
}

/// A process type starts a build tool that compiles the app again.
pub(crate) fn compiles_at_start(entry: &ProcfileEntry, command: &str) -> String {
    format!(
        "Procfile: {}: '{command}' compiles the app at each start, which takes time and memory: a push has built it already: leave it \
         out and start the jar, such as 'java -jar target/app.jar'",
        entry.name
    )
}

/// Lone Java files do not say which class to start.
pub(crate) fn no_main_class(programs: &[String]) -> UserError {
    let failure = if programs.is_empty() {
        UserError::new("the app has no Procfile, and none of its classes has a main method")
    } else {
        UserError::new(format!(
            "the app has no Procfile, and it is not obvious which of these classes to start: {}",
            join_names(programs)
        ))
    };
    let example = programs.first().map_or("Main", String::as_str);
    failure.hint(format!("add a file 'Procfile' with the line 'web: java {example}'"))
}

/// Adds a hint that the machine's Gradle may be too old: Debian's is from 2017.
pub(crate) fn perhaps_the_gradle(failure: UserError) -> UserError {
    failure.hint("the app has no gradlew, and the machine's own Gradle may be too old for its build file: 'gradle wrapper' on your machine makes one; commit it with gradle/wrapper")
}
