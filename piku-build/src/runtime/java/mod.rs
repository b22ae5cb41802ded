//! Java: Maven or Gradle in an incremental work tree, by the app's wrapper if it has one; a jar in the
//! repository, also an unpacked one; lone `*.java` files. Without a Procfile, the jar whose manifest names a main class is started.

mod artifacts;
mod failures;
mod jar;
mod jdk;
mod sources;
mod steps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_layout::name::ProcessName;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_source::{AppSource, decode};
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::kept_tree::KeptFolders;
use crate::tree::root_view::RootView;
use jar::{JarKind, JarManifest, RunnableJar};
use jdk::{InstalledJdk, JdkChoice};
use piku_layout::jail::PATH;
use sources::JavaSources;
use steps::{gradle_step, javac_step, maven_step};

const POM: &str = "pom.xml";
const GRADLE: [&str; 4] = ["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"];
const MAIN: &str = "Main.java";
/// The manifest of an unpacked jar.
const MANIFEST: &str = "META-INF/MANIFEST.MF";

/// The tool that builds the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JavaTool {
    Maven,
    Gradle,
    /// No build: the repository contains a jar.
    Jar,
    /// No build: the repository is an unpacked jar.
    Unpacked,
    Javac,
}

pub(super) struct JavaRuntime;

impl Runtime for JavaRuntime {
    fn name(&self) -> &'static str {
        "java"
    }

    fn detect(&self, source: &AppSource) -> anyhow::Result<DetectResult> {
        let gradle = GRADLE.iter().find(|name| source.has_entry(name));
        let named = |ends: &[&str]| {
            let found = source.names.iter().find(|name| ends.iter().any(|end| name.ends_with(end)));
            found.map_or("", String::as_str)
        };
        Ok(match detect_tool(source)? {
            Some(JavaTool::Maven) => DetectResult::Match(match gradle {
                Some(other) => format!("there is a {POM}; it counts before {other}"),
                None => format!("there is a {POM}"),
            }),
            Some(JavaTool::Gradle) if source.has_entry(POM) => {
                DetectResult::Match(format!("there is a gradlew; {POM} has no mvnw and counts after it"))
            }
            Some(JavaTool::Gradle) => {
                DetectResult::Match(format!("there is a {}", gradle.map_or("", |name| name)))
            }
            Some(JavaTool::Jar) => DetectResult::WeakMatch(format!("there is {}", named(&[".jar", ".war"]))),
            Some(JavaTool::Unpacked) => {
                DetectResult::WeakMatch(format!("there is an unpacked jar: {MANIFEST} names a main class"))
            }
            Some(JavaTool::Javac) => {
                let file = if source.has_entry(MAIN) { MAIN } else { named(&[".java"]) };
                DetectResult::WeakMatch(format!("there is a {file}"))
            }
            None => DetectResult::NoMatch(format!(
                "{POM}, build.gradle, build.gradle.kts, a jar or {MAIN} are missing"
            )),
        })
    }

    fn plan(&self, source: &AppSource, target: &BuildTarget) -> anyhow::Result<BuildPlan> {
        let tool = detect_tool(source)?.unwrap_or(JavaTool::Maven);
        let is_built = !matches!(tool, JavaTool::Jar | JavaTool::Unpacked);
        let JdkChoice { installed, from, warnings } = jdk::choose(source, is_built)?;
        let (processes, processes_from) = processes(source, tool)?;
        let steps = match tool {
            JavaTool::Maven => vec![maven_step(source, target)?],
            JavaTool::Gradle => vec![gradle_step(source, target)?],
            JavaTool::Javac => vec![javac_step(&installed, &JavaSources::read(source)?)],
            JavaTool::Jar | JavaTool::Unpacked => Vec::new(),
        };
        let keep = match tool {
            // Maven keeps classes of deleted sources in the jar.
            JavaTool::Maven => Some(KeptFolders { folders: &["target"], forgets: true }),
            JavaTool::Gradle => Some(KeptFolders { folders: &["build", ".gradle"], forgets: false }),
            JavaTool::Jar | JavaTool::Unpacked | JavaTool::Javac => None,
        };
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(installed.version.clone()),
            version_from: Some(from),
            steps,
            keep,
            processes,
            processes_from: processes_from.map(str::to_owned),
            env: env(&installed),
            profile: Some(("java-memory.sh", MEMORY)),
            warnings,
            ..BuildPlan::default()
        })
    }

    fn explain_failure(
        &self,
        step: &BuildStep,
        ended: &StepOutcome,
        _plan: &BuildPlan,
        view: &RootView,
    ) -> anyhow::Error {
        let failure = failures::explain(step.name, ended);
        let is_machines = step.name == "gradle" && !view.work.is_file("gradlew");
        if is_machines { errors::java::perhaps_the_gradle(failure) } else { failure }.into()
    }

    fn complete_plan(&self, plan: &mut BuildPlan, view: &RootView) -> anyhow::Result<()> {
        let folders = match plan.keep {
            Some(keep) => {
                let made = artifacts::find_folders(&view.work, keep.folders[0])?;
                if !artifacts::has_program(&view.work, &made) {
                    let name = plan.steps.first().map_or("", |step| step.name);
                    return Err(errors::java::nothing_built(name, &keep.folders[..1]).into());
                }
                artifacts::copy_folders(&view.work, &view.tree, &made)?;
                made
            }
            None => vec![PathBuf::new()],
        };
        if plan.processes_from.as_deref() == Some(BY_BUILD) {
            let command = match artifacts::find_install_script(&view.tree, &folders) {
                Some(script) => script.display().to_string(),
                None => jar_command(
                    &jar::find_program(&view.tree, &folders)
                        .map_err(|found| errors::java::no_runnable(&found))?,
                ),
            };
            plan.processes = IndexMap::from([("web".parse()?, command)]);
            plan.processes_from = Some(JAR.to_owned());
        }
        Ok(())
    }
}

/// Sources of process types: known only after the build, or known before.
const BY_BUILD: &str = "the jar that is built";
const JAR: &str = "the jar";
/// Sizes the heap by the memory limit of the process type. The JVM does not see the jail's limit and would
/// use the whole machine's memory.
const MEMORY: &str = include_str!("memory.sh");

/// Chooses the tool: Maven before Gradle, unless only Gradle has a wrapper.
fn detect_tool(source: &AppSource) -> anyhow::Result<Option<JavaTool>> {
    let gradle = GRADLE.iter().any(|name| source.has_entry(name));
    Ok(if source.has_entry(POM) && !(gradle && source.has_entry("gradlew") && !source.has_entry("mvnw")) {
        Some(JavaTool::Maven)
    } else if gradle {
        Some(JavaTool::Gradle)
    } else if source.names.iter().any(|name| is_jar(name)) {
        Some(JavaTool::Jar)
    } else if read_manifest(source)?.is_some() {
        Some(JavaTool::Unpacked)
    } else {
        has_lone_files(source)?.then_some(JavaTool::Javac)
    })
}

/// Returns whether Java files at the top are the app: those with a main method, or those that the Procfile starts.
fn has_lone_files(source: &AppSource) -> anyhow::Result<bool> {
    let sources = JavaSources::read(source)?;
    let is_started = source.procfile.is_none() || super::starts_program(source, &["java"]);
    Ok(source.has_entry(MAIN) || is_started && !sources.programs.is_empty())
}

/// Reads the manifest of an unpacked jar; `None` if it names no main class.
fn read_manifest(source: &AppSource) -> anyhow::Result<Option<JarManifest>> {
    if !source.has_entry("META-INF/") {
        return Ok(None);
    }
    Ok(source.read_bytes(MANIFEST)?.and_then(|text| JarManifest::parse(&decode(&text))))
}

fn is_jar(name: &str) -> bool {
    let path = Path::new(name);
    path.extension().is_some_and(|end| end == "jar" || end == "war") && !jar::is_secondary(path)
}

/// Returns the process types, and their source if that is not the Procfile.
fn processes(
    source: &AppSource,
    tool: JavaTool,
) -> anyhow::Result<(IndexMap<ProcessName, String>, Option<&'static str>)> {
    if let Some(processes) = super::procfile_processes(source) {
        return Ok((processes, None));
    }
    let (command, from) = match tool {
        JavaTool::Javac => {
            let sources = JavaSources::read(source)?;
            let class = sources.program().ok_or_else(|| errors::java::no_main_class(&sources.programs))?;
            (sources.command(class), "the class with a main method")
        }
        JavaTool::Unpacked => {
            let manifest = read_manifest(source)?.ok_or_else(|| errors::java::no_runnable(&[]))?;
            let paths =
                std::iter::once(".".to_owned()).chain(manifest.class_path).collect::<Vec<_>>().join(":");
            let (java, paths) = (java_command(manifest.kind), shell_words::quote(&paths).into_owned());
            (format!("{java} -cp {paths} {}", shell_words::quote(&manifest.main)), MANIFEST)
        }
        JavaTool::Jar => {
            let jar = jar::find_program(&source.tree, &[PathBuf::new()]);
            (jar_command(&jar.map_err(|found| errors::java::no_runnable(&found))?), JAR)
        }
        JavaTool::Maven => (guess_command(&read_text(source, POM)?, "target", ""), BY_BUILD),
        JavaTool::Gradle => (guess_command(&gradle_text(source)?, "build", "libs/"), BY_BUILD),
    };
    Ok((IndexMap::from([("web".parse()?, command)]), Some(from)))
}

/// Guesses the command from the build file: a jar in `folder`, for most projects in its subfolder `below`.
fn guess_command(build_file: &str, folder: &str, below: &str) -> String {
    let (kind, below) = if build_file.contains("org.springframework.boot") {
        (JarKind::Spring, below)
    } else if build_file.contains("io.quarkus") {
        (JarKind::Quarkus, "quarkus-app/")
    } else {
        (JarKind::Plain, below)
    };
    format!("{} -jar {folder}/{below}*.jar", java_command(kind))
}

/// Returns the text of the build files at the top and one folder below.
fn gradle_text(source: &AppSource) -> anyhow::Result<String> {
    let folders = source.names.iter().map(String::as_str).filter(|name| name.ends_with('/'));
    let mut all = String::new();
    for folder in std::iter::once("").chain(folders) {
        for name in &GRADLE[..2] {
            all += &read_text(source, &format!("{folder}{name}"))?;
        }
    }
    Ok(all)
}

fn read_text(source: &AppSource, name: &str) -> anyhow::Result<String> {
    Ok(source.read_bytes(name)?.map(|text| decode(&text)).unwrap_or_default())
}

/// Returns the command that starts a jar, with the framework's options to listen on `PORT`.
fn jar_command(jar: &RunnableJar) -> String {
    format!("{} -jar {}", java_command(jar.kind), shell_words::quote(&jar.path.to_string_lossy()))
}

fn java_command(kind: JarKind) -> String {
    let listens = match kind {
        JarKind::Spring => " -Dserver.address=${BIND_ADDRESS:-127.0.0.1} -Dserver.port=$PORT",
        JarKind::Quarkus => " -Dquarkus.http.host=${BIND_ADDRESS:-127.0.0.1} -Dquarkus.http.port=$PORT",
        JarKind::Plain => "",
    };
    format!("java{listens} $JAVA_OPTS")
}

fn env(jdk: &InstalledJdk) -> BTreeMap<String, String> {
    let home = jdk.home.display();
    BTreeMap::from([
        ("PATH".to_owned(), format!("{home}/bin:{PATH}")),
        ("JAVA_HOME".to_owned(), home.to_string()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool_of(names: &[&str]) -> Option<JavaTool> {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        detect_tool(&AppSource::read(dir.path(), None).unwrap()).unwrap()
    }

    #[test]
    fn one_tool_of_several() {
        for (names, expected) in [
            (&["pom.xml"][..], Some(JavaTool::Maven)),
            (&["pom.xml", "build.gradle"], Some(JavaTool::Maven)),
            (&["pom.xml", "build.gradle", "gradlew"], Some(JavaTool::Gradle)),
            (&["pom.xml", "build.gradle", "gradlew", "mvnw"], Some(JavaTool::Maven)),
            (&["settings.gradle.kts", "app.jar"], Some(JavaTool::Gradle)),
            (&["app.jar", "Main.java"], Some(JavaTool::Jar)),
            (&["app-sources.jar"], None),
            (&["Main.java"], Some(JavaTool::Javac)),
        ] {
            assert_eq!(tool_of(names), expected, "{names:?}");
        }
    }

    #[test]
    fn the_heap_follows_the_limit_of_the_type() {
        let options = |env: &[(&str, &str)]| {
            let text = format!("set -eu\n{MEMORY}\nprintf %s \"${{JAVA_TOOL_OPTIONS-}}\"");
            let mut shell = std::process::Command::new("/bin/sh");
            shell.args(["-c", &text]).env_clear().env("PATH", PATH).envs(env.iter().copied());
            let out = shell.output().unwrap();
            assert!(out.status.success(), "{out:?}");
            String::from_utf8(out.stdout).unwrap()
        };
        let (all, own) = (("MEMORY_LIMIT", "1g"), ("MY_WORKER_MEMORY_LIMIT", "50%"));
        assert_eq!(options(&[("PROC_TYPE", "web")]), "");
        assert_eq!(options(&[("PROC_TYPE", "web"), all, own]), "-XX:MaxRAM=1g -XX:MaxRAMPercentage=60");
        assert_eq!(options(&[("PROC_TYPE", "my-worker"), all, own]), "-XX:MaxRAMPercentage=30");
        assert_eq!(
            options(&[("PROC_TYPE", "1st"), all, ("JAVA_TOOL_OPTIONS", "-Da=b")]),
            "-XX:MaxRAM=1g -XX:MaxRAMPercentage=60 -Da=b"
        );
    }
}
