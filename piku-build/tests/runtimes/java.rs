//! Java apps whose process types start a build tool: what is started is the program that the tool has made.
//! Debian has no sbt; the apps have a script of that name, as real ones have its launcher.

use std::path::Path;

use piku_tests::snapshot::str;

use crate::support::World;

const STAGE: &str = "mkdir -p target/universal/stage/bin project/target/universal/stage/bin\n\
                     touch project/target/universal/stage/bin/plugin target/universal/stage/bin/shop.bat\n\
                     printf '#!/bin/sh\\necho shop \"$@\"\\n' >target/universal/stage/bin/shop\n\
                     chmod +x target/universal/stage/bin/shop\n";

/// Stands for a Maven that copies the dependency which the file `version` names beside the jar.
const COPY: &str = "#!/bin/sh\ncase $* in *--version) exit 0 ;; esac\nset -eu\n\
                    mkdir -p target/dependency\ntouch target/app.jar \"target/dependency/$(cat version)\"\n";

/// Returns an app with this Procfile whose sbt runs these commands; `None` without a JDK.
fn app(procfile: &str, build: &str, sbt: &str) -> Option<World> {
    has_jdk().then_some(())?;
    let world = World::new(&[("Procfile", procfile), ("build.sbt", build)]);
    world.executable("sbt", format!("#!/bin/sh\nset -eu\necho \"sbt $*\"\n{sbt}"));
    Some(world)
}

fn has_jdk() -> bool {
    let found = Path::new("/usr/bin/javac").exists();
    assert!(found || std::env::var_os("CI").is_none(), "no JDK; nothing may be skipped with CI set");
    found
}

#[test]
fn dependencies_of_an_earlier_pom_are_gone() {
    if !has_jdk() {
        return;
    }
    let world = World::new(&[
        ("pom.xml", "<project/>\n"),
        ("version", "a-1.jar"),
        ("Procfile", "web: java -cp target/app.jar:target/dependency/* Main\n"),
    ]);
    world.executable("mvnw", COPY);
    world.build("1").good(&[]);
    world.write("pom.xml", "<project><!-- a 2 --></project>\n");
    world.write("version", "a-2.jar");
    world.build("2").good(&[]);
    let copied = std::fs::read_dir(world.path("out/2/app/target/dependency")).unwrap();
    let names: Vec<_> = copied.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a-2.jar"]);
}

#[test]
fn jars_of_an_earlier_version_are_gone() {
    let assembly = "mkdir -p target/scala-2.13\ntouch \"target/scala-2.13/shop-$(cat version).jar\"\n";
    let Some(world) = app("web: java -jar target/scala-*/*.jar\n", "", assembly) else { return };
    world.write("version", "1");
    world.build("1").good(&[]);
    world.write("version", "2");
    world.build("2").good(&[]);
    let made = std::fs::read_dir(world.path("out/2/app/target/scala-2.13")).unwrap();
    let names: Vec<_> = made.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["shop-2.jar"]);
}

#[test]
fn what_sbt_has_staged_is_started() {
    let procfile =
        "web: A=1 sbt -Dx=y 'run $PORT --z'\nworker: cd project && sh -c 'sbt \"runMain shop.Jobs\"'\n";
    let Some(world) = app(procfile, "name := \"shop\"\n", STAGE) else { return };
    world
        .build("1")
        .good(&[" compile stage\n", "worker: 'sbt runMain shop.Jobs' compiles the app at each start"]);
    let processes = world.release("1").processes;
    let commands: Vec<_> = processes.values().map(String::as_str).collect();
    let shop = "target/universal/stage/bin/shop";
    assert_eq!(
        commands,
        [format!("A=1 {shop} -Dx=y $PORT --z"), format!("cd project && sh -c '../{shop} -main shop.Jobs'")]
    );
    assert_eq!(world.work("1", &[shop, "--z"]).good(&[]).stdout, "shop --z\n");

    let Some(play) = app("web: sbt 'run $PORT'\n", "enablePlugins(PlayScala)\n", STAGE) else { return };
    play.build("1").good(&[]);
    assert_eq!(play.release("1").processes[0], format!("{shop} -Dhttp.port=$PORT"));
}

#[test]
fn a_program_that_is_none_of_the_app_is_not_started() {
    let links = "mkdir -p target/universal/stage/bin target/scala-2.13\n\
                 ln -sf /etc/hostname target/universal/stage/bin/shop\n\
                 ln -sfn / target/scala-3; mkfifo target/scala-2.13/a.jar; rm build.sbt; mkfifo build.sbt\n";
    let Some(world) = app("web: sbt run\n", "", links) else { return };
    world.build("1").fails(str![[r#"
 !     warning: Procfile: web: 'sbt run' compiles the app at each start: the program that this build makes is started instead
piku-build: Procfile: web: 'sbt run' starts what the build makes, and no jar names a main class in its manifest
hint: add a file 'Procfile' with a line such as 'web: java -jar target/app.jar'
hint: a jar that starts names its Main-Class and has the dependencies inside: maven-shade-plugin or spring-boot-maven-plugin in pom.xml, the plugin 'application' or shadow in build.gradle

"#]]);
}
