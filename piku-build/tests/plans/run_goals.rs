//! Process types that start the app by its build tool, as in development, and the build tools of Scala and
//! Clojure.

use piku_tests::snapshot::str;

use crate::support::World;
use crate::{check_words, has_programs};

const BOOT: &str = "<project><artifactId>spring-boot-maven-plugin</artifactId></project>\n";
/// A project whose jar has no dependencies inside.
const THIN: &str = "<project><build><mainClass>shop.Main</mainClass></build></project>\n";

#[test]
fn goals_that_run_the_app_start_what_is_built() {
    if !has_programs("goals of Maven", &["javac", "mvn"]) {
        return;
    }
    let app = |pom: &str, procfile: &str| World::new(&[("pom.xml", pom), ("Procfile", procfile)]);
    check_words(
        &app(BOOT, "web: mvn -q spring-boot:run\nworker: mvn compile\nrelease: mvn flyway:migrate\n"),
        str![[r#"
exit 0
runtime  java [VERSION] (the machine's java)
because  there is a pom.xml
process  web: mvn -q spring-boot:run (Procfile)
process  worker: mvn compile (Procfile)
process  release: mvn flyway:migrate (Procfile)
 !     warning: Procfile: web: 'mvn -q spring-boot:run' compiles the app at each start: the program that this build makes is started instead
 !     warning: Procfile: worker: 'mvn compile' compiles the app at each start, which takes time and memory: a push has built it already: leave it out and start the jar, such as 'java -jar target/app.jar'

"#]],
    );
    let thin = app(THIN, "web: mvn exec:java -Dexec.args=$PORT\n");
    check_words(
        &thin,
        str![[r#"
exit 0
runtime  java [VERSION] (the machine's java)
because  there is a pom.xml
process  web: mvn exec:java -Dexec.args=$PORT (Procfile)
 !     warning: Procfile: web: 'mvn exec:java -Dexec.args=$PORT' compiles the app at each start: the program that this build makes is started instead

"#]],
    );
    let modules = app(BOOT, "web: mvn -pl web exec:java\n");
    modules.write("pom.xml", format!("<project><pluginManagement>{BOOT}</pluginManagement></project>\n"));
    modules.write("web/pom.xml", THIN);
    let steps = &modules.run(&["plan", "app"]).good(&[]).stdout.clone();
    assert!(steps.contains(" dependency:copy-dependencies "), "the module's jar is thin: {steps}");
    let plan = thin.run(&["plan", "app"]);
    let step = &plan.good(&[]).stdout;
    assert!(step.contains(" package dependency:copy-dependencies '-DincludeScope=runtime'\n"), "{step}");
    check_words(
        &app("<project></project>", "web: mvn exec:java\n"),
        str![[r#"
exit 1
piku-build: Procfile: web: 'mvn exec:java' names no class: neither exec.mainClass nor <mainClass> in pom.xml
hint: add -Dexec.mainClass=org.example.Main

"#]],
    );
}

#[test]
fn the_tools_of_scala_and_clojure() {
    if !has_programs("sbt and lein", &["javac"]) {
        return;
    }
    let stage = ("Procfile", "web: target/universal/stage/bin/shop\n");
    // Neither is among Debian's packages that the tests install.
    check_words(
        &World::new(&[("build.sbt", ""), stage]),
        str![[r#"
exit 1
piku-build: this is a Scala app, recognised, but 'sbt' is missing, in the app and on this machine
hint: commit sbt's launcher script as 'sbt' at the top of the app, or have the operator put it into /usr/local/bin
hint: or commit what your machine builds, such as a jar of sbt-assembly, and a Procfile that starts it

"#]],
    );
    check_words(
        &World::new(&[("project.clj", "")]),
        str![[r#"
exit 1
piku-build: this is a Clojure app, recognised, but 'lein' is missing on this machine
hint: on the machine: apt install leiningen

"#]],
    );
    check_words(
        &World::new(&[
            ("build.sbt", "lazy val root = (project in file(\".\")).enablePlugins(PlayScala)\n"),
            ("sbt", "#!/bin/sh\n"),
        ]),
        str![[r#"
exit 0
runtime  java [VERSION] (the machine's java)
because  there is a build.sbt
process  web: target/universal/stage/bin/* -Dhttp.port=$PORT (the jar that is built)

"#]],
    );
    let steps = |files: &[(&str, &str)]| {
        let plan = World::new(files).run(&["plan", "app"]);
        plan.good(&[]).stdout.lines().find(|line| line.starts_with("step ")).unwrap_or_default().to_owned()
    };
    let assembly = ("project/plugins.sbt", "addSbtPlugin(\"com.eed3si9n\" % \"sbt-assembly\" % \"2.1.5\")\n");
    assert!(steps(&[("build.sbt", ""), ("sbt", ""), assembly]).ends_with(" ./sbt assembly"));
    assert!(steps(&[("build.sbt", ""), ("bin/sbt", "")]).ends_with(" ./bin/sbt compile stage"));
    assert!(steps(&[("project.clj", ""), ("lein", "")]).ends_with(" ./lein uberjar"));
    // Built elsewhere and committed, it needs no tool.
    check_words(
        &World::new(&[("build.sbt", ""), ("Procfile", "web: sh run.sh\n"), ("run.sh", "")]),
        str![[r#"
exit 0
runtime  binary
because  there is a Procfile
process  web: sh run.sh (Procfile)

"#]],
    );
}
