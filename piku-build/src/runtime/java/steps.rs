//! The build steps of Java's tools: what Heroku's buildpacks run, without the tests.

use super::jdk::{self, InstalledJdk};
use super::sources::{JavaSources, LIBRARIES};
use super::tool::{GRADLE, JavaTool, POM};
use crate::app::app_source::{AppSource, decode};
use crate::errors;
use crate::plan::build_target::BuildTarget;
use crate::step::build_step::BuildStep;

/// Runs a command after it removes the jars of the previous build from the folders named `$0`: one of
/// another version would be taken for this build's.
const AFRESH: &str = r#"find . \( -name src -o -name node_modules -o -name .gradle \) -prune -o -type d -name "$0" -prune -exec sh -c 'cd -- "$1" && rm -rf -- *.jar *.war scala-*/*.jar libs/*.jar libs/*.war install quarkus-app' sh {} \; && exec "$@""#;
/// Keeps Maven's packages in the app's build cache, whose path is in a variable.
const REPOSITORY: &str = r#"exec "$@" -Dmaven.repo.local="$MAVEN_USER_HOME/repository""#;
/// Builds by the app's wrapper, or by the machine's Maven, `$1`, if the wrapper cannot fetch the one that it
/// pins. That was tried once for each pin, as a mark in the cache says.
const WRAPPER: &str = r#"mvn=$1; shift; mark="$MAVEN_USER_HOME/wrapper/tried-$(cksum <.mvn/wrapper/maven-wrapper.properties 2>/dev/null | tr ' ' -)"; if [ -e "$mark" ] || sh ./mvnw --version >"$HOME/mvnw.log" 2>&1; then mkdir -p "${mark%/*}" && : >"$mark"; set -- sh ./mvnw "$@"; else cat "$HOME/mvnw.log"; echo "[WARNING] mvnw cannot fetch the Maven that it pins: the machine's own, $mvn, builds the app"; set -- "$mvn" "$@"; fi; "#;
/// Keeps sbt's packages there. Its plain output needs no terminal.
const SBT_CACHE: &str = r#"program=$1; shift; exec "$program" -Dsbt.global.base="$SBT_CACHE/global" -Dsbt.boot.directory="$SBT_CACHE/boot" -Dsbt.ivy.home="$SBT_CACHE/ivy" -Dsbt.color=false -Dsbt.supershell=false "$@""#;
/// Keeps Leiningen's packages there.
const LEININGEN_CACHE: &str = r#"mkdir -p "$MAVEN_USER_HOME/repository" "$HOME/.m2" && ln -sfn "$MAVEN_USER_HOME/repository" "$HOME/.m2/repository" && exec "$@""#;
/// Leaves out the progress of downloads. The option of that name is unknown to Maven before 3.6.1, which
/// wrappers pin.
const QUIET_TRANSFER: &str =
    "-Dorg.slf4j.simpleLogger.log.org.apache.maven.cli.transfer.Slf4jMavenTransferListener=warn";
/// Maven's goal that copies the dependencies beside the classes, for a program that is no jar.
const COPY_DEPENDENCIES: [&str; 2] = ["dependency:copy-dependencies", "-DincludeScope=runtime"];

/// The language of an app that does not say which: Java 5 for the compiler plugin of Debian's Maven, which no
/// JDK since 9 compiles; newer ones take this.
const LANGUAGE_LEVEL: [&str; 2] = ["-Dmaven.compiler.source=8", "-Dmaven.compiler.target=8"];
/// Parts of a pom.xml that say it, or by which another file may say it.
const LEVEL_MARKS: [&str; 8] = [
    "maven.compiler.",
    "java.version",
    "<source>",
    "<target>",
    "<release>",
    "<parent>",
    "<modules>",
    "kotlin-maven-plugin",
];
/// Options of Maven's JVM: the plugins of Debian's Maven, such as that of wars, read private fields of Java's
/// own classes.
pub(super) const MAVEN_JVM: &str = "--add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED \
                                    --add-opens=java.base/java.text=ALL-UNNAMED --add-opens=java.desktop/java.awt.font=ALL-UNNAMED";

/// Returns whether a pom.xml says which language the app is written in.
fn has_language_level(pom: &str) -> bool {
    LEVEL_MARKS.iter().any(|mark| pom.contains(mark))
}

fn after_cleanup(folder: &str) -> Vec<String> {
    ["sh", "-c", AFRESH, folder].map(str::to_owned).into()
}

/// Returns the words of a variable, or else of `default`.
fn variable_words(source: &AppSource, name: &str, default: &str) -> Vec<String> {
    let text = source.variable(name).map_or(default, |(value, _)| value);
    shell_words::split(text).unwrap_or_default()
}

/// Compiles lone files. The classes of packages are in folders of their own.
pub(super) fn javac_step(jdk: &InstalledJdk, sources: &JavaSources) -> BuildStep {
    let mut run = vec![jdk::program_path(&jdk.home, "javac")];
    if sources.has_libraries {
        run.extend(["-cp".to_owned(), format!("{LIBRARIES}/*")]);
    }
    run.extend(["-d", "."].map(str::to_owned));
    run.extend(sources.files.iter().cloned());
    BuildStep { name: JavaTool::Javac.step_name(), run, quiet: false }
}

/// Runs `package`, or what Heroku's variables say. `copies_dependencies` is true if a process type starts
/// classes.
pub(super) fn maven_step(
    source: &AppSource,
    target: &BuildTarget,
    copies_dependencies: bool,
) -> anyhow::Result<BuildStep> {
    let own = target.find_tool("mvn").map(|found| found.inside.to_string_lossy().into_owned());
    let mut run = after_cleanup("target");
    run.extend(["sh", "-c"].map(str::to_owned));
    match own {
        Some(own) if source.has_entry("mvnw") => {
            run.extend([format!("{WRAPPER}{REPOSITORY}"), "sh".to_owned(), own]);
        }
        None if source.has_entry("mvnw") => run.extend([REPOSITORY, "sh", "sh", "./mvnw"].map(str::to_owned)),
        None => return Err(errors::missing_tool("a Java app", "mvn").into()),
        Some(own) => run.extend([REPOSITORY.to_owned(), "sh".to_owned(), own]),
    }
    run.extend(["--batch-mode", QUIET_TRANSFER].map(str::to_owned));
    run.extend(variable_words(source, "MAVEN_CUSTOM_OPTS", "-DskipTests"));
    if !has_language_level(&read_text(source, POM)?) {
        run.extend(LANGUAGE_LEVEL.map(str::to_owned));
    }
    run.extend(variable_words(source, "MAVEN_CUSTOM_GOALS", "package"));
    if copies_dependencies {
        run.extend(COPY_DEPENDENCIES.map(str::to_owned));
    }
    Ok(BuildStep { name: JavaTool::Maven.step_name(), run, quiet: false })
}

/// The task that makes a folder with a script and the jars.
pub(super) const INSTALL: &str = "installDist";

/// Runs the task that Heroku's buildpack would.
pub(super) fn gradle_step(source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildStep> {
    let mut run = after_cleanup("build");
    if source.has_entry("gradlew") {
        run.extend(["sh", "./gradlew"].map(str::to_owned));
    } else {
        run.push(target.tool("a Java app", "gradle")?.inside.to_string_lossy().into_owned());
    }
    run.extend(shell_words::split(&gradle_task(source)?).unwrap_or_default());
    // A daemon would be killed with the step and leave its locks.
    run.extend(["--no-daemon", "--console=plain"].map(str::to_owned));
    Ok(BuildStep { name: JavaTool::Gradle.step_name(), run, quiet: false })
}

pub(super) fn gradle_task(source: &AppSource) -> anyhow::Result<String> {
    if let Some((task, _)) = source.variable("GRADLE_TASK") {
        return Ok(task.to_owned());
    }
    let text = read_gradle(source)?;
    let has = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    // `application` alone on a line is Kotlin's way to apply the plugin, with braces the block that
    // configures it.
    let is_application = || {
        text.lines().map(str::trim).any(|line| {
            let rest = line.strip_prefix("application").map(str::trim_start);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        })
    };
    Ok(if has(&["task stage", "\"stage\"", "'stage'"]) {
        "stage"
    } else if has(&["org.springframework.boot", "io.quarkus"]) {
        "build -x test"
    } else if has(&["com.github.johnrengelman.shadow", "com.gradleup.shadow"]) {
        "shadowJar"
    } else if has(&["'application'", "\"application\"", "io.micronaut.application"]) || is_application() {
        INSTALL
    } else {
        "build -x test"
    }
    .to_owned())
}

/// Runs `stage`, which makes a folder with a script and the jars; `assembly`, where only that plugin is
/// there; or what Heroku's variable says. An app may have the launcher of sbt.
pub(super) fn sbt_step(source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildStep> {
    let mut run = after_cleanup("target");
    run.extend(["sh", "-c", SBT_CACHE, "sh"].map(str::to_owned));
    run.push(find_program(source, target, "sbt")?.ok_or_else(errors::java::no_sbt)?);
    let plugins = read_sbt_plugins(source)?;
    let is_assembly = plugins.contains("sbt-assembly")
        && !["sbt-native-packager", "sbt-plugin", "sbt-play"].iter().any(|name| plugins.contains(name));
    let default = if is_assembly { "assembly" } else { "compile stage" };
    run.extend(variable_words(source, "SBT_TASKS", default));
    Ok(BuildStep { name: JavaTool::Sbt.step_name(), run, quiet: false })
}

/// Runs `uberjar`, or what Heroku's variable says. An app may have Leiningen's script.
pub(super) fn leiningen_step(source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildStep> {
    let mut run = ["sh", "-c", LEININGEN_CACHE, "sh"].map(str::to_owned).to_vec();
    match find_program(source, target, "lein")? {
        Some(program) => run.push(program),
        None => return Err(errors::missing_tool("a Clojure app", "lein").into()),
    }
    run.extend(variable_words(source, "LEIN_BUILD_TASK", "uberjar"));
    Ok(BuildStep { name: JavaTool::Leiningen.step_name(), run, quiet: false })
}

/// Returns a tool of the app, at its top or in `bin/`, or else of the machine.
fn find_program(source: &AppSource, target: &BuildTarget, name: &str) -> anyhow::Result<Option<String>> {
    for folder in ["", "bin/"] {
        let path = format!("{folder}{name}");
        if source.find(&path)?.is_some_and(|stat| stat.is_file()) {
            return Ok(Some(format!("./{path}")));
        }
    }
    Ok(target.find_tool(name).map(|found| found.inside.to_string_lossy().into_owned()))
}

/// Returns the text of the build files at the top and one folder below.
pub(super) fn read_gradle(source: &AppSource) -> anyhow::Result<String> {
    let folders = source.names.iter().map(String::as_str).filter(|name| name.ends_with('/'));
    let mut all = String::new();
    for folder in std::iter::once("").chain(folders) {
        for name in &GRADLE[..2] {
            all += &read_text(source, &format!("{folder}{name}"))?;
        }
    }
    Ok(all)
}

/// Returns the text of sbt's files about plugins.
pub(super) fn read_sbt_plugins(source: &AppSource) -> anyhow::Result<String> {
    let mut all = String::new();
    if source.has_entry("project/") {
        for entry in source.list("project")? {
            let name = entry.name.to_string_lossy();
            if name.ends_with(".sbt") {
                all += &read_text(source, &format!("project/{name}"))?;
            }
        }
    }
    Ok(all)
}

pub(super) fn read_text(source: &AppSource, name: &str) -> anyhow::Result<String> {
    Ok(source.read_bytes(name)?.map(|text| decode(&text)).unwrap_or_default())
}
