//! Errors of Java apps.

use std::fmt::Display;
use std::path::PathBuf;

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

pub(crate) fn no_runnable(found: &[PathBuf]) -> UserError {
    let failure = if found.is_empty() {
        UserError::new("the app has no Procfile, and no jar names a main class in its manifest")
    } else {
        let names: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
        UserError::new(format!(
            "the app has no Procfile, and it is not obvious which of these to start: {}",
            join_names(&names)
        ))
    };
    let example =
        found.first().map_or_else(|| "target/app.jar".to_owned(), |path| path.display().to_string());
    failure.hint(format!("add a file 'Procfile' with a line such as 'web: java -jar {example}'"))
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
