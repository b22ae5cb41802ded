//! The build steps of a Java app: javac, Maven or Gradle.

use super::super::BuildTarget;
use super::gradle_text;
use super::jdk::{self, InstalledJdk};
use super::sources::{JavaSources, LIBRARIES};
use crate::app::app_source::AppSource;
use crate::step::build_step::BuildStep;

/// Runs a command after it removes the jars of the previous build from the folders named `$0`: one of
/// another version would be taken for this build's.
const AFRESH: &str = r#"find . \( -name src -o -name node_modules -o -name .gradle \) -prune -o -type d -name "$0" -prune -exec sh -c 'cd -- "$1" && rm -rf -- *.jar *.war libs/*.jar libs/*.war install quarkus-app' sh {} \; && exec "$@""#;
/// Keeps Maven's packages in the app's build cache, whose path is in a variable.
const REPOSITORY: &str = r#"exec "$@" -Dmaven.repo.local="$MAVEN_USER_HOME/repository""#;

fn after_cleanup(folder: &str) -> Vec<String> {
    ["sh", "-c", AFRESH, folder].map(str::to_owned).into()
}

/// Compiles lone files. The classes of packages are in folders of their own.
pub(super) fn javac_step(jdk: &InstalledJdk, sources: &JavaSources) -> BuildStep {
    let mut run = vec![jdk::program_path(&jdk.home, "javac")];
    if sources.has_libraries {
        run.extend(["-cp".to_owned(), format!("{LIBRARIES}/*")]);
    }
    run.extend(["-d", "."].map(str::to_owned));
    run.extend(sources.files.iter().cloned());
    BuildStep { name: "javac", run, quiet: false }
}

/// Runs `package` without the tests, or what Heroku's variables say.
pub(super) fn maven_step(source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildStep> {
    let program = if source.has_entry("mvnw") {
        vec!["sh".to_owned(), "./mvnw".to_owned()]
    } else {
        vec![target.tool("a Java app", "mvn")?.inside.to_string_lossy().into_owned()]
    };
    let words = |name: &str, default: &str| {
        let text = source.variable(name).map_or(default, |(value, _)| value);
        shell_words::split(text).unwrap_or_default()
    };
    let mut run = after_cleanup("target");
    run.extend(["sh", "-c", REPOSITORY, "sh"].map(str::to_owned));
    run.extend(program);
    run.extend(["--batch-mode", "--no-transfer-progress"].map(str::to_owned));
    run.extend(words("MAVEN_CUSTOM_OPTS", "-DskipTests"));
    run.extend(words("MAVEN_CUSTOM_GOALS", "package"));
    Ok(BuildStep { name: "mvn", run, quiet: false })
}

/// Runs the task that Heroku's buildpack would, without the tests.
pub(super) fn gradle_step(source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildStep> {
    let mut run = after_cleanup("build");
    if source.has_entry("gradlew") {
        run.extend(["sh", "./gradlew"].map(str::to_owned));
    } else {
        run.push(target.tool("a Java app", "gradle")?.inside.to_string_lossy().into_owned());
    }
    let text = gradle_text(source)?;
    let task = match source.variable("GRADLE_TASK") {
        Some((task, _)) => task,
        None if text.contains("task stage") || text.contains("\"stage\"") || text.contains("'stage'") => {
            "stage"
        }
        None if text.contains("org.springframework.boot") || text.contains("io.quarkus") => "build -x test",
        None if text.contains("com.github.johnrengelman.shadow") || text.contains("com.gradleup.shadow") => {
            "shadowJar"
        }
        None if text.contains("'application'")
            || text.contains("\"application\"")
            || text.contains("\n    application\n") =>
        {
            "installDist"
        }
        None => "build -x test",
    };
    run.extend(shell_words::split(task).unwrap_or_default());
    // A daemon would be killed with the step and leave its locks.
    run.extend(["--no-daemon", "--console=plain"].map(str::to_owned));
    Ok(BuildStep { name: "gradle", run, quiet: false })
}
