//! Commands of build tools in a Procfile that compile the app and start it, such as `mvn spring-boot:run`.
//! The program that the push has built is started in their place.

use std::path::PathBuf;

use super::shell_quoting::quote;
use super::tool::JavaTool;
use crate::app::app_source::normalize_path;
use crate::app::started_programs::StartedProgram;

/// Options of the tools with a value in the next word.
const MAVEN_VALUES: [&str; 17] = [
    "-D",
    "--define",
    "-P",
    "--activate-profiles",
    "-T",
    "--threads",
    "-b",
    "--builder",
    "-gs",
    "--global-settings",
    "-gt",
    "-l",
    "--log-file",
    "-rf",
    "-s",
    "--settings",
    "-t",
];
const GRADLE_VALUES: [&str; 8] =
    ["-c", "--settings-file", "-g", "--gradle-user-home", "-I", "--init-script", "-x", "--exclude-task"];
/// Variables of Maven's own that mean nothing to the app.
const OF_MAVEN: [&str; 5] = ["maven.", "skip", "spring-boot.", "exec.", "quarkus.platform."];

/// The meaning of a build tool's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GoalMeaning {
    /// It starts the app.
    Starts(RunGoal),
    /// Compiles again what the push has built.
    Compiles,
}

/// A command that compiles the app and starts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RunGoal {
    /// Options of the JVM.
    pub(super) options: Vec<String>,
    /// Arguments of the program.
    pub(super) arguments: Vec<String>,
    /// Folder of the module that it starts.
    pub(super) module: PathBuf,
    /// Class that it starts.
    pub(super) main: Option<String>,
    /// True if it starts classes, without a jar (`exec:java`).
    pub(super) is_of_classes: bool,
}

impl RunGoal {
    /// Turns a port alone, which Play's `run` takes for that of HTTP, into the option that its script takes.
    pub(super) fn name_port(&mut self) {
        for argument in &mut self.arguments {
            if argument == "$PORT" || argument == "${PORT}" || argument.parse::<u16>().is_ok() {
                *argument = format!("-Dhttp.port={argument}");
            }
        }
    }

    /// Returns the options and arguments as one text each for the shell, with a blank in front of each word.
    pub(super) fn texts(&self) -> (String, String) {
        let join =
            |words: &[String]| words.iter().fold(String::new(), |text, word| text + " " + &quote(word));
        (join(&self.options), join(&self.arguments))
    }
}

/// Says what a command of a build tool does; `None` if it is none, or one that piku does not know.
pub(super) fn interpret(started: &StartedProgram, tool: JavaTool) -> Option<GoalMeaning> {
    let words: Vec<&str> = started.words.iter().skip(1).map(String::as_str).collect();
    let mut meaning = match (started.name(), tool) {
        ("mvn" | "mvnw", JavaTool::Maven) => interpret_maven(&words),
        ("gradle" | "gradlew", JavaTool::Gradle) => interpret_gradle(&words),
        ("sbt", JavaTool::Sbt) => interpret_sbt(&words),
        ("lein", JavaTool::Leiningen) => interpret_leiningen(&words),
        _ => None,
    }?;
    if let GoalMeaning::Starts(goal) = &mut meaning {
        goal.module = normalize_path(&started.folder.as_ref()?.join(&goal.module));
    }
    Some(meaning)
}

fn interpret_maven(words: &[&str]) -> Option<GoalMeaning> {
    let mut goal = RunGoal::default();
    let (mut starts, mut compiles) = (false, false);
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        let next = words.get(at).copied();
        match *word {
            "-pl" | "--projects" => {
                goal.module = next.unwrap_or_default().trim_start_matches(':').into();
                at += 1;
            }
            "-f" | "--file" => {
                let file = PathBuf::from(next.unwrap_or_default());
                goal.module = if file.extension().is_some() { file.parent()?.to_owned() } else { file };
                at += 1;
            }
            "-D" | "--define" => {
                read_maven_variable(next.unwrap_or_default(), &mut goal);
                at += 1;
            }
            word if MAVEN_VALUES.contains(&word) => at += 1,
            word if word.starts_with('-') => {
                if let Some(variable) = word.strip_prefix("-D") {
                    read_maven_variable(variable, &mut goal);
                }
            }
            // An execution may have a name: `exec:java@web`.
            word => match word.split('@').next().unwrap_or_default().rsplit_once(':') {
                Some((plugin, "java")) if plugin.contains("exec") => {
                    (starts, goal.is_of_classes) = (true, true);
                }
                Some((plugin, "run" | "dev" | "start"))
                    if ["spring-boot", "quarkus", "mn", "micronaut"]
                        .iter()
                        .any(|name| plugin.contains(name)) =>
                {
                    starts = true;
                }
                Some((_, task)) => compiles |= task.starts_with("run"),
                None => compiles |= !matches!(word, "clean" | "validate"),
            },
        }
    }
    meaning(starts, compiles, goal)
}

/// Reads `NAME=VALUE` behind `-D`. What is not about the build is for the app.
fn read_maven_variable(variable: &str, goal: &mut RunGoal) {
    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
    let words = || value.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned);
    match name {
        "spring-boot.run.arguments" | "run.arguments" | "quarkus.args" | "mn.appArgs" => {
            goal.arguments.extend(words());
        }
        "exec.args" | "exec.arguments" => {
            goal.arguments.extend(value.split_whitespace().map(str::to_owned));
        }
        "spring-boot.run.jvmArguments" | "run.jvmArguments" | "jvm.args" | "mn.jvmArgs" => {
            goal.options.extend(value.split_whitespace().map(str::to_owned));
        }
        "spring-boot.run.profiles" => goal.options.push(format!("-Dspring.profiles.active={value}")),
        "exec.mainClass" => goal.main = Some(value.to_owned()),
        _ if OF_MAVEN.iter().any(|own| name.starts_with(own)) => {}
        _ => goal.options.push(format!("-D{variable}")),
    }
}

fn interpret_gradle(words: &[&str]) -> Option<GoalMeaning> {
    let mut goal = RunGoal::default();
    let (mut starts, mut compiles) = (false, false);
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        let next = words.get(at).copied();
        match *word {
            "--args" => {
                goal.arguments.extend(next.unwrap_or_default().split_whitespace().map(str::to_owned));
                at += 1;
            }
            "-p" | "--project-dir" => {
                goal.module = next.unwrap_or_default().into();
                at += 1;
            }
            "-b" | "--build-file" => {
                PathBuf::from(next.unwrap_or_default()).parent()?.clone_into(&mut goal.module);
                at += 1;
            }
            word if GRADLE_VALUES.contains(&word) => at += 1,
            word if word.starts_with('-') => {
                if let Some(text) = word.strip_prefix("--args=") {
                    goal.arguments.extend(text.split_whitespace().map(str::to_owned));
                }
            }
            word => {
                let (module, task) = word.rsplit_once(':').unwrap_or(("", word));
                match task {
                    "bootRun" | "run" | "quarkusDev" | "quarkusRun" | "runShadow" | "runFatJar" => {
                        starts = true;
                        let module = module.trim_start_matches(':').replace(':', "/");
                        if !module.is_empty() {
                            goal.module = module.into();
                        }
                    }
                    _ => compiles |= is_compiling(task),
                }
            }
        }
    }
    meaning(starts, compiles, goal)
}

fn interpret_sbt(words: &[&str]) -> Option<GoalMeaning> {
    let mut goal = RunGoal::default();
    let (mut starts, mut compiles) = (false, false);
    for word in words {
        if let Some(option) = word.strip_prefix('-').filter(|_| !starts) {
            if option.starts_with('D') {
                goal.options.push((*word).to_owned());
            }
            continue;
        }
        if starts {
            // `sbt run` gives no arguments to the program; `sbt "run X"` does.
            compiles = true;
            continue;
        }
        let mut parts = word.trim_start_matches('~').split_whitespace();
        let task = parts.next().unwrap_or_default();
        match task.rsplit('/').next().unwrap_or_default() {
            "run" | "runProd" | "runMain" | "reStart" => {
                starts = true;
                if task.ends_with("runMain") {
                    goal.main = parts.next().map(str::to_owned);
                }
                if let Some((module, _)) = task.split_once('/') {
                    goal.module = module.into();
                }
                goal.arguments.extend(parts.map(str::to_owned));
            }
            task => compiles |= is_compiling(task),
        }
    }
    meaning(starts, compiles, goal)
}

fn interpret_leiningen(words: &[&str]) -> Option<GoalMeaning> {
    let mut goal = RunGoal::default();
    let mut words = words.iter().copied().peekable();
    loop {
        match words.next()? {
            "with-profile" | "with-profiles" => {
                words.next();
            }
            "trampoline" | "do" => {}
            word if word.starts_with('-') => {}
            "run" => break,
            word => return is_compiling(word).then_some(GoalMeaning::Compiles),
        }
    }
    if words.next_if(|word| matches!(*word, "-m" | "--main")).is_some() {
        goal.main = words.next().map(str::to_owned);
    }
    words.next_if(|word| *word == "--");
    goal.arguments = words.map(str::to_owned).collect();
    Some(GoalMeaning::Starts(goal))
}

/// Returns whether a task of Gradle, sbt or Leiningen compiles the app. Those of plugins, such as a
/// migration, may be meant for a release.
fn is_compiling(task: &str) -> bool {
    const TASKS: [&str; 14] = [
        "assemble",
        "assembly",
        "bootJar",
        "build",
        "check",
        "classes",
        "compile",
        "installDist",
        "jar",
        "package",
        "ring",
        "shadowJar",
        "stage",
        "uberjar",
    ];
    TASKS.contains(&task) || task.ends_with("Run")
}

fn meaning(starts: bool, compiles: bool, goal: RunGoal) -> Option<GoalMeaning> {
    if starts { Some(GoalMeaning::Starts(goal)) } else { compiles.then_some(GoalMeaning::Compiles) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::started_programs::find_started;

    fn read(command: &str) -> String {
        let started = find_started(command).pop().unwrap();
        let tool = match started.name() {
            "mvn" | "mvnw" => JavaTool::Maven,
            "sbt" => JavaTool::Sbt,
            "lein" => JavaTool::Leiningen,
            _ => JavaTool::Gradle,
        };
        match interpret(&started, tool) {
            None => "unknown".to_owned(),
            Some(GoalMeaning::Compiles) => "compiles".to_owned(),
            Some(GoalMeaning::Starts(goal)) => {
                let (options, arguments) = goal.texts();
                let main = goal.main.map(|main| format!(" main {main}")).unwrap_or_default();
                let classes = if goal.is_of_classes { " classes" } else { "" };
                format!("{}|{options}|{arguments}|{classes}{main}", goal.module.display())
            }
        }
    }

    #[test]
    fn what_maven_would_run() {
        for (command, expected) in [
            ("mvn spring-boot:run", "|||"),
            ("./mvnw -q -DskipTests clean spring-boot:run", "|||"),
            (
                "mvn spring-boot:run -Dspring-boot.run.arguments=--server.port=$PORT,--x -Dspring-boot.run.profiles=prod",
                "| -Dspring.profiles.active=prod| --server.port=$PORT --x|",
            ),
            (
                "mvn -Dserver.port=$PORT -Dspring-boot.run.jvmArguments='-Xmx64m -Da=b' spring-boot:run",
                "| -Dserver.port=$PORT -Xmx64m -Da=b||",
            ),
            ("cd web && ../mvnw spring-boot:run", "web|||"),
            ("mvn -pl web -am spring-boot:run", "web|||"),
            ("mvn -f web/pom.xml org.springframework.boot:spring-boot-maven-plugin:3.4.0:run", "web|||"),
            ("mvn exec:java -Dexec.mainClass=shop.Main -Dexec.args='a b'", "|| a b| classes main shop.Main"),
            ("mvn compile exec:java@web", "||| classes"),
            ("mvn quarkus:dev", "|||"),
            ("mvn jetty:run", "compiles"),
            ("mvn package", "compiles"),
            ("mvn flyway:migrate", "unknown"),
            ("mvn --version", "unknown"),
            ("cd $X && mvn spring-boot:run", "unknown"),
        ] {
            assert_eq!(read(command), expected, "{command}");
        }
    }

    #[test]
    fn a_port_alone_is_that_of_play() {
        let arguments = ["$PORT".to_owned(), "9000".to_owned(), "-Da=b".to_owned()].to_vec();
        let mut goal = RunGoal { arguments, ..RunGoal::default() };
        goal.name_port();
        assert_eq!(goal.texts().1, " -Dhttp.port=$PORT -Dhttp.port=9000 -Da=b");
    }

    #[test]
    fn what_the_other_tools_would_run() {
        for (command, expected) in [
            ("./gradlew bootRun", "|||"),
            ("gradle -q --no-daemon clean :web:api:run --args='--port $PORT'", "web/api|| --port $PORT|"),
            ("./gradlew run --args \"a b\" -x test", "|| a b|"),
            (
                "./gradlew run --args='--db=jdbc:mysql://h/x?a=b&c=d ;id --p=${PORT:-80}'",
                "|| \"--db=jdbc:mysql://h/x?a=b&c=d\" \";id\" --p=${PORT:-80}|",
            ),
            ("./gradlew run --args='a`id` $(id) $HOME\"'", r#"|| "a\`id\`" "\$(id)" "$HOME\""|"#),
            ("sbt '-Da=`id`' 'run ;id'", r#"| "-Da=\`id\`"| ";id"|"#),
            ("./gradlew build", "compiles"),
            ("./gradlew --version", "unknown"),
            ("./gradlew flywayMigrate", "unknown"),
            ("./gradlew jettyRun", "compiles"),
            ("sbt run", "|||"),
            ("sbt -Dconfig.resource=prod.conf '~web/run $PORT'", "web| -Dconfig.resource=prod.conf| $PORT|"),
            ("sbt 'runMain shop.Main x'", "|| x| main shop.Main"),
            ("sbt stage", "compiles"),
            ("lein run", "|||"),
            ("lein with-profile production trampoline run -m shop.web $PORT", "|| $PORT| main shop.web"),
            ("lein ring server-headless", "compiles"),
            ("lein migratus migrate", "unknown"),
            ("java -jar x.jar", "unknown"),
        ] {
            assert_eq!(read(command), expected, "{command}");
        }
    }
}
