//! The program that a build has made, and the command that starts it.

use std::path::{Path, PathBuf};

use piku_files::TreeHandle;
use piku_report::user_error::UserError;

use super::artifacts;
use super::jar::{self, JarKind, RunnableJar};
use super::run_goal::RunGoal;
use super::shell_quoting::{escape, is_plain, quote};
use crate::errors;
use crate::plan::tool_commands::path_from;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JavaProgram {
    /// The script of Gradle's `installDist` or sbt's `stage`.
    Script(PathBuf),
    Jar(RunnableJar),
    /// Maven's classes, with their dependencies beside them.
    Classes {
        /// Maven's folder `target`.
        folder: PathBuf,
        main: String,
    },
}

impl JavaProgram {
    /// Finds the program in the folders that a build has filled: those of the module, where a goal names one.
    /// `why` is the beginning of the error.
    ///
    /// # Errors
    /// Fails if it is not obvious which one is the program.
    pub(super) fn find(
        tree: &TreeHandle,
        folders: &[PathBuf],
        module: &Path,
        why: &str,
    ) -> Result<Self, UserError> {
        let below: Vec<_> = folders.iter().filter(|folder| folder.starts_with(module)).cloned().collect();
        let folders = if below.is_empty() { folders } else { &below };
        if let Some(script) = artifacts::find_install_script(tree, folders) {
            return Ok(Self::Script(script));
        }
        jar::find_program(tree, folders).map(Self::Jar).map_err(|found| {
            match artifacts::find_war(tree, folders).filter(|_| found.is_empty()) {
                Some(war) => errors::java::only_a_war(why, &war),
                None => errors::java::no_runnable(why, &found),
            }
        })
    }

    /// Returns the command that starts it in a folder of the app, with a goal's options and arguments.
    pub(super) fn command(&self, folder: Option<&Path>, goal: &RunGoal) -> String {
        let (options, arguments) = goal.texts();
        let place = |path: &Path| {
            let path = path_from(folder, path);
            shell_words::quote(&path.to_string_lossy()).into_owned()
        };
        match self {
            Self::Script(path) => {
                let main =
                    goal.main.as_ref().map_or_else(String::new, |main| format!(" -main {}", quote(main)));
                let is_sbt = path.components().any(|part| part.as_os_str() == "universal");
                let path = place(path);
                // sbt's script takes the options of the JVM too, Gradle's only in a variable.
                match options.trim() {
                    "" => format!("{path}{main}{arguments}"),
                    _ if is_sbt => format!("{path}{options}{main}{arguments}"),
                    _ => {
                        let own = escape(&for_xargs(&goal.options));
                        format!("env JAVA_OPTS=\"$JAVA_OPTS {own}\" {path}{arguments}")
                    }
                }
            }
            Self::Jar(jar) => {
                let (java, path) = (java_command(jar.kind), place(&jar.path));
                match &goal.main {
                    Some(main) if jar.kind == JarKind::Plain => {
                        format!("{java}{options} -cp {path} {}{arguments}", quote(main))
                    }
                    _ => format!("{java}{options} -jar {path}{arguments}"),
                }
            }
            Self::Classes { folder: target, main } => {
                // The shell finds no such file and leaves the pattern to Java.
                let target = place(target);
                let paths = format!("{target}/classes:{target}/dependency/*");
                let (java, main) = (java_command(JarKind::Plain), quote(main));
                format!("{java}{options} -cp {paths} {main}{arguments}")
            }
        }
    }
}

/// Returns options for a script that reads them from a variable by `xargs`.
fn for_xargs(options: &[String]) -> String {
    let quoted = options.iter().map(|word| match word {
        word if is_plain(word) => word.clone(),
        // A backslash quotes the next character.
        word if word.contains('"') && word.contains('\'') => word.chars().flat_map(|c| ['\\', c]).collect(),
        word if word.contains('"') => format!("'{word}'"),
        word => format!("\"{word}\""),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Returns the JVM's command with the framework's options to listen on `PORT`.
pub(super) fn java_command(kind: JarKind) -> String {
    let listens = match kind {
        JarKind::Spring => " -Dserver.address=${BIND_ADDRESS:-127.0.0.1} -Dserver.port=$PORT",
        JarKind::Quarkus => " -Dquarkus.http.host=${BIND_ADDRESS:-127.0.0.1} -Dquarkus.http.port=$PORT",
        JarKind::Plain => "",
    };
    format!("java{listens} $JAVA_OPTS")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_goal_cannot_leave_its_words() {
        let goal = RunGoal {
            options: vec!["-Da=b c".to_owned(), "-Dd=`id`".to_owned()],
            arguments: vec!["$(id)".to_owned()],
            main: Some("shop.Main; id".to_owned()),
            ..RunGoal::default()
        };
        let script = JavaProgram::Script("build/install/shop/bin/shop".into());
        assert_eq!(
            script.command(Some(Path::new("")), &goal),
            r#"env JAVA_OPTS="$JAVA_OPTS \"-Da=b c\" \"-Dd=\`id\`\"" build/install/shop/bin/shop "\$(id)""#
        );
        let jar = JavaProgram::Jar(RunnableJar { path: "shop.jar".into(), kind: JarKind::Plain });
        assert_eq!(
            jar.command(Some(Path::new("")), &goal),
            r#"java $JAVA_OPTS "-Da=b c" "-Dd=\`id\`" -cp shop.jar "shop.Main; id" "\$(id)""#
        );
        let classes = JavaProgram::Classes { folder: "target".into(), main: "shop.Main; id".to_owned() };
        assert!(classes.command(Some(Path::new("")), &goal).contains(r#" "shop.Main; id" "#));
    }

    #[test]
    fn xargs_reads_the_options_as_they_are() {
        let options = ["-Xmx64m", "-Da=b c", r#"-Db="x""#, "-Dc=it's", r#"-Dd=it's "both""#, r"-De=\'"];
        let options = options.map(str::to_owned);
        let mut xargs = Command::new("xargs");
        xargs.args(["-n1", "printf", "%s\\n"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut xargs = xargs.spawn().unwrap();
        xargs.stdin.take().unwrap().write_all(for_xargs(&options).as_bytes()).unwrap();
        let out = xargs.wait_with_output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let read = String::from_utf8(out.stdout).unwrap();
        assert_eq!(read.lines().collect::<Vec<_>>(), options);
    }

    #[test]
    fn commands_have_the_options_of_the_goal() {
        let goal = RunGoal {
            options: vec!["-Xmx64m".to_owned()],
            arguments: vec!["--x".to_owned(), "$PORT".to_owned()],
            main: Some("shop.Main".to_owned()),
            ..RunGoal::default()
        };
        let jar = |kind| JavaProgram::Jar(RunnableJar { path: "target/shop-1.jar".into(), kind });
        for (program, folder, expected) in [
            (jar(JarKind::Plain), "", "java $JAVA_OPTS -Xmx64m -cp target/shop-1.jar shop.Main --x $PORT"),
            (
                jar(JarKind::Spring),
                "web",
                "java -Dserver.address=${BIND_ADDRESS:-127.0.0.1} -Dserver.port=$PORT $JAVA_OPTS -Xmx64m -jar ../target/shop-1.jar --x $PORT",
            ),
            (
                JavaProgram::Script("build/install/shop/bin/shop".into()),
                "",
                "env JAVA_OPTS=\"$JAVA_OPTS -Xmx64m\" build/install/shop/bin/shop --x $PORT",
            ),
            (
                JavaProgram::Script("target/universal/stage/bin/shop".into()),
                "",
                "target/universal/stage/bin/shop -Xmx64m -main shop.Main --x $PORT",
            ),
            (
                JavaProgram::Classes { folder: "target".into(), main: "shop.Main".to_owned() },
                "",
                "java $JAVA_OPTS -Xmx64m -cp target/classes:target/dependency/* shop.Main --x $PORT",
            ),
        ] {
            assert_eq!(program.command(Some(Path::new(folder)), &goal), expected);
        }
    }
}
