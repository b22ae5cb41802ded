//! Java: Maven, Gradle, sbt or Leiningen in an incremental work tree, by the app's wrapper if it has one; a
//! jar in the repository, also an unpacked one; lone `*.java` files. Without a Procfile, the jar whose
//! manifest names a main class is started.

mod artifacts;
mod failures;
mod goals;
mod jar;
mod jdk;
mod program;
mod run_goal;
mod shell_quoting;
mod sources;
mod steps;
mod tool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use piku_files::TreeHandle;
use piku_layout::name::ProcessName;

use super::{BuildTarget, DetectResult, Runtime};
use crate::app::app_file;
use crate::app::app_source::{AppSource, decode};
use crate::errors;
use crate::plan::build_plan::BuildPlan;
use crate::step::build_step::{BuildStep, StepOutcome};
use crate::tree::root_view::RootView;
use goals::ToolGoals;
use jar::JarKind;
use jdk::{InstalledJdk, JdkChoice};
use piku_layout::jail::PATH;
use program::{JavaProgram, java_command};
use run_goal::RunGoal;
use sources::{JavaSources, MAIN};
use tool::{GRADLE, JavaTool, LEININGEN, MANIFEST, POM, SBT};

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
        Ok(match JavaTool::detect(source)? {
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
            Some(JavaTool::Sbt) => DetectResult::Match(format!("there is a {SBT}")),
            Some(JavaTool::Leiningen) => DetectResult::Match(format!("there is a {LEININGEN}")),
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
        let tool = JavaTool::detect(source)?.unwrap_or(JavaTool::Maven);
        let JdkChoice { installed, from, mut warnings } = jdk::choose(source, tool.is_built())?;
        let (processes, processes_from) = processes(source, tool)?;
        let goals = ToolGoals::read(&processes, tool, source)?;
        warnings.extend(goals.warnings);
        let steps = match tool {
            JavaTool::Maven => vec![steps::maven_step(source, target, goals.starts_classes)?],
            JavaTool::Gradle => vec![steps::gradle_step(source, target)?],
            JavaTool::Sbt => vec![steps::sbt_step(source, target)?],
            JavaTool::Leiningen => vec![steps::leiningen_step(source, target)?],
            JavaTool::Javac => vec![steps::javac_step(&installed, &JavaSources::read(source)?)],
            JavaTool::Jar | JavaTool::Unpacked => Vec::new(),
        };
        Ok(BuildPlan {
            runtime: self.name(),
            version: Some(installed.version.clone()),
            version_from: Some(from),
            steps,
            keep: tool.kept_folders(),
            keep_key: if tool == JavaTool::Maven { tool::hash_poms(source)? } else { String::new() },
            processes,
            is_guess: processes_from == Some(BY_BUILD),
            processes_from: processes_from.map(str::to_owned),
            env: env(&installed),
            build_env: build_env(tool, &installed),
            profile: Some(("java.sh", PROFILE)),
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
        let tool = plan.steps.first().and_then(|step| JavaTool::of_step(step.name));
        let is_play = tool == Some(JavaTool::Sbt) && has_play(&view.tree)?;
        let folders = match plan.keep {
            Some(keep) => {
                let mut made = artifacts::find_folders(&view.work, keep.folders[0])?;
                // sbt's build of itself.
                made.retain(|folder| tool != Some(JavaTool::Sbt) || !folder.starts_with("project"));
                if !artifacts::has_program(&view.work, &made) {
                    let step = tool.map_or("", JavaTool::step_name);
                    return Err(errors::java::nothing_built(step, &keep.folders[..1]).into());
                }
                artifacts::copy_folders(&view.work, &view.tree, &made)?;
                made
            }
            None => vec![PathBuf::new()],
        };
        if plan.is_guess {
            let program = JavaProgram::find(&view.tree, &folders, Path::new(""), errors::java::NO_PROCFILE)?;
            let command = program.command(Some(Path::new("")), &RunGoal::default());
            let command = if is_play { command + PLAY } else { command };
            plan.processes = IndexMap::from([("web".parse()?, command)]);
            plan.processes_from = Some(JAR.to_owned());
        }
        tool.map_or(Ok(()), |tool| goals::replace_goals(plan, tool, is_play, &view.tree, &folders))
    }
}

/// Returns whether the text of sbt's files is that of a Play app.
fn is_play(text: &str) -> bool {
    ["PlayScala", "PlayJava", "playframework", "com.typesafe.play"].iter().any(|mark| text.contains(mark))
}

/// Returns whether the files of sbt in a tree are those of a Play app.
fn has_play(tree: &TreeHandle) -> anyhow::Result<bool> {
    let mut all = String::new();
    for name in [SBT, "project/plugins.sbt"] {
        all += &decode(&app_file::read_bytes(tree, Path::new(name))?.unwrap_or_default());
    }
    Ok(is_play(&all))
}

/// Argument by which a Play app listens on `PORT`.
const PLAY: &str = " -Dhttp.port=$PORT";

/// Sources of process types: known only after the build, or known before.
const BY_BUILD: &str = "the jar that is built";
const JAR: &str = "the jar";
/// Sizes the heap by the memory limit of the process type: the JVM does not see the jail's limit and would use the whole
/// machine's memory. Gives JDBC and Spring the URLs of services in their own form, as Heroku does.
const PROFILE: &str = concat!(include_str!("memory.sh"), include_str!("database.sh"));

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
            let manifest = tool::read_manifest(source)?
                .ok_or_else(|| errors::java::no_runnable(errors::java::NO_PROCFILE, &[]))?;
            let paths =
                std::iter::once(".".to_owned()).chain(manifest.class_path).collect::<Vec<_>>().join(":");
            let (java, paths) = (java_command(manifest.kind), shell_words::quote(&paths).into_owned());
            (format!("{java} -cp {paths} {}", shell_words::quote(&manifest.main)), MANIFEST)
        }
        JavaTool::Jar => {
            let program =
                JavaProgram::find(&source.tree, &[PathBuf::new()], Path::new(""), errors::java::NO_PROCFILE)?;
            (program.command(Some(Path::new("")), &RunGoal::default()), JAR)
        }
        JavaTool::Maven => (guess_command(&steps::read_text(source, POM)?, "target", ""), BY_BUILD),
        JavaTool::Gradle if steps::gradle_task(source)? == steps::INSTALL => {
            ("build/install/*/bin/*".to_owned(), BY_BUILD)
        }
        JavaTool::Gradle => (guess_command(&steps::read_gradle(source)?, "build", "libs/"), BY_BUILD),
        JavaTool::Sbt => {
            let text = steps::read_text(source, SBT)? + &steps::read_sbt_plugins(source)?;
            let port = if is_play(&text) { PLAY } else { "" };
            (format!("target/universal/stage/bin/*{port}"), BY_BUILD)
        }
        JavaTool::Leiningen => ("java $JAVA_OPTS -jar target/*.jar".to_owned(), BY_BUILD),
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

/// Returns variables of the build. Java 8 knows no modules.
fn build_env(tool: JavaTool, jdk: &InstalledJdk) -> BTreeMap<String, String> {
    let options = (tool == JavaTool::Maven && jdk.feature > 8)
        .then(|| ("MAVEN_OPTS".to_owned(), steps::MAVEN_JVM.to_owned()));
    options.into_iter().collect()
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

    /// Returns the output of a command after the profile.
    fn after_profile(command: &str, env: &[(&str, &str)]) -> String {
        let text = format!("set -eu\n{PROFILE}\n{command}");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &text]).env_clear().env("PATH", PATH).envs(env.iter().copied());
        let out = shell.output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn the_heap_follows_the_limit_of_the_type() {
        let options = |env: &[(&str, &str)]| after_profile("printf %s \"${JAVA_TOOL_OPTIONS-}\"", env);
        let (all, own) = (("MEMORY_LIMIT", "1g"), ("MY_WORKER_MEMORY_LIMIT", "50%"));
        assert_eq!(options(&[("PROC_TYPE", "web")]), "");
        assert_eq!(options(&[("PROC_TYPE", "web"), all, own]), "-XX:MaxRAM=1g -XX:MaxRAMPercentage=60");
        assert_eq!(options(&[("PROC_TYPE", "my-worker"), all, own]), "-XX:MaxRAMPercentage=30");
        assert_eq!(
            options(&[("PROC_TYPE", "1st"), all, ("JAVA_TOOL_OPTIONS", "-Da=b")]),
            "-XX:MaxRAM=1g -XX:MaxRAMPercentage=60 -Da=b"
        );
    }

    #[test]
    fn odd_shells_have_the_urls_of_services_too() {
        let env = [("DATABASE_URL", "mysql://me:secret@db/a"), ("REPORTS_URL", "mysql://me:secret@db/b")];
        let profile = include_str!("database.sh");
        let text = |before: &str| {
            format!(
                "set -eu; {before}\n{profile}\nprintf '%s\\n' \"${{IFS-none}}\" \"$JDBC_DATABASE_URL\" \"${{REPORTS_JDBC_URL-}}\""
            )
        };
        let [main, reports] =
            ["a", "b"].map(|name| format!("jdbc:mysql://db/{name}?user=me&password=secret"));
        for (before, expected) in [
            ("IFS=_", format!("_\n{main}\n{reports}\n")),
            ("unset IFS", format!("none\n{main}\n{reports}\n")),
            // Without env and sed.
            ("IFS=_ PATH=/none", format!("_\n{main}\n\n")),
        ] {
            let mut shell = std::process::Command::new("/bin/sh");
            let out =
                shell.args(["-c", &text(before)]).env_clear().env("PATH", PATH).envs(env).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{before}: {out:?}");
            assert!(out.stderr.is_empty(), "{out:?}");
        }
    }

    #[test]
    fn jdbc_and_spring_get_the_urls_of_services() {
        let variables = |env: &[(&str, &str)]| {
            after_profile("env | grep -E '^(JDBC|SPRING|piku|[A-Z]*_JDBC_)' || :", env)
        };
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let database = ("DATABASE_URL", "postgresql://me:a%40b%25c@127.0.0.1:15432/shop");
        let url = "jdbc:postgresql://127.0.0.1:15432/shop?user=me&password=a%40b%25c";
        let jdbc =
            format!("JDBC_DATABASE_PASSWORD=a@b%c\nJDBC_DATABASE_URL={url}\nJDBC_DATABASE_USERNAME=me\n");
        let spring = format!(
            "SPRING_DATASOURCE_PASSWORD=a@b%c\nSPRING_DATASOURCE_URL={url}\nSPRING_DATASOURCE_USERNAME=me\n"
        );
        assert_eq!(sorted(&variables(&[database])), sorted(&(jdbc.clone() + &spring)));
        assert_eq!(sorted(&variables(&[database, ("DISABLE_SPRING_DATASOURCE_URL", "true")])), sorted(&jdbc));
        let own = ("SPRING_DATASOURCE_URL", "jdbc:h2:mem:");
        assert_eq!(
            sorted(&variables(&[database, own])),
            sorted(&(jdbc.clone() + "SPRING_DATASOURCE_URL=jdbc:h2:mem:\n"))
        );
        let mysql = variables(&[("DATABASE_URL", "mysql://me:secret@db/shop?useSSL=false")]);
        assert!(
            mysql.contains("JDBC_DATABASE_URL=jdbc:mysql://db/shop?useSSL=false&user=me&password=secret\n"),
            "{mysql}"
        );
        let reports = ("REPORTS_URL", "mariadb://you:b%40c@127.0.0.1:15440/reports");
        let reports_url = "jdbc:mariadb://127.0.0.1:15440/reports?user=you&password=b%40c";
        let second =
            format!("REPORTS_JDBC_PASSWORD=b@c\nREPORTS_JDBC_URL={reports_url}\nREPORTS_JDBC_USERNAME=you\n");
        assert_eq!(sorted(&variables(&[reports])), sorted(&second));
        assert_eq!(sorted(&variables(&[database, reports])), sorted(&(jdbc.clone() + &spring + &second)));
        let own = ("REPORTS_JDBC_URL", "jdbc:h2:mem:");
        assert_eq!(variables(&[reports, own]), "REPORTS_JDBC_URL=jdbc:h2:mem:\n");
        let lines = ("NOTE", "a\nSHOP_URL=postgres://me:secret@db/shop\nB;C_URL=mysql://me:secret@db/shop");
        assert_eq!(variables(&[lines]), "");
        for odd in ["sqlite:///data/x", "postgres://db/shop", "postgres://me@db/shop", "nonsense", ""] {
            assert_eq!(variables(&[("DATABASE_URL", odd)]), "", "{odd}");
        }
        let redis = ("REDIS_URL", "redis://me:secret@127.0.0.1:15433/0");
        let both = format!("SPRING_DATA_REDIS_URL={0}\nSPRING_REDIS_URL={0}\n", redis.1);
        assert_eq!(sorted(&variables(&[redis])), sorted(&both));
        assert_eq!(variables(&[redis, ("DISABLE_SPRING_REDIS_URL", "true")]), "");
    }
}
