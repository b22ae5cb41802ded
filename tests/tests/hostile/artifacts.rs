//! The output of compilers, taken out of a tree in which a build step has put links where folders were.

use crate::victim::VictimWorld;

const MANIFEST: &str = "[package]\nname = \"evil\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
const LOCK: &str = "version = 3\n\n[[package]]\nname = \"evil\"\nversion = \"0.1.0\"\n";
/// A program that does its harm as a hook of a repository.
const HOOK: &str =
    "fn main() { std::fs::write(std::env::var(\"HOME\").unwrap() + \"/harm\", \"\").unwrap() }\n";

#[test]
fn artifact_is_not_written_through_symlink() {
    let host = VictimWorld::new(&[], &[]);
    let repo = host.attacker("evil");
    repo.file("Cargo.toml", MANIFEST).file("Cargo.lock", LOCK).file("src/bin/reference-transaction.rs", HOOK);
    for (preflight, web, name) in [
        // The program goes where the next push of anybody runs it.
        ("ln -s @ROOT@/apps/evil/repo.git/hooks bin", "./serve", "'bin'"),
        ("ln -s @HOME@ hop; ln -s hop/.ssh bin", "./serve", "'bin'"),
        // A link to it where the Procfile starts it.
        ("ln -s @ROOT@/apps/victim/data out", "./out/deep/reference-transaction", "'out'"),
    ] {
        let preflight = host.aimed(preflight);
        repo.file("Procfile", format!("web: {web}\npreflight: rm -rf bin out; {preflight}\n"));
        let said = repo.commit("Attack").push().fails_with(&[name, "leads out of the app"]);
        host.assert_untouched(&said);
        let hook = host.world.app("evil").join("repo.git/hooks/reference-transaction");
        assert!(!hook.exists() && !host.world.path("home/harm").exists());
    }
    // A folder of the app may have two names.
    repo.file("Procfile", "web: ./serve\npreflight: rm -rf bin; mkdir programs; ln -s programs bin\n");
    repo.commit("Good").push().succeeds();
    assert!(host.world.app("evil").join("current/app/programs/reference-transaction").exists());
}

/// Makes a jar where a build would, without any Maven.
const MVNW: &str = r#"#!/bin/sh
set -e
rm -rf sub link libs
mkdir -p sub/target target
echo evil >sub/target/page
python3 -c "import zipfile; zipfile.ZipFile('target/a-1.jar', 'w').writestr('META-INF/MANIFEST.MF', 'Main-Class: A\n')"
cp target/a-1.jar sub/target/b-1.jar
"#;

#[test]
fn maven_output_does_not_follow_symlinks() {
    let host = VictimWorld::new(&[("target/page", "of the victim\n")], &[]);
    let repo = host.attacker("evil");
    repo.file("pom.xml", "<project/>\n").program("mvnw", MVNW);
    for (preflight, name) in [
        // The module's folder is another app's live release: its `target` would be replaced.
        ("ln -s @ROOT@/apps/victim/releases/1/app sub", "'sub"),
        ("ln -s @ROOT@/apps hop; ln -s hop/victim/current/app sub", "'sub"),
    ] {
        let preflight = host.aimed(preflight);
        repo.file("Procfile", format!("web: ./serve\npreflight: {preflight}\n"));
        let said = repo.commit("Attack").push().fails_with(&[name, "leads out of the app"]);
        host.assert_untouched(&said);
    }
    // A step leaves links and a pipe in the folder that is taken.
    repo.file("Procfile", "web: ./serve\n");
    let odd = "mv target t; mkdir target; ln -s @ROOT@/apps/victim/data target/data; mkfifo target/b.jar; \
               ln -s @HOME@/key target/key; cp t/a-1.jar target\n";
    let said = repo.program("mvnw", MVNW.to_owned() + &host.aimed(odd)).commit("Odd").push().succeeds();
    host.assert_untouched(&said);
    let taken = host.world.app("evil").join("current/app/target");
    assert!(
        taken.join("a-1.jar").exists() && taken.join("data").is_symlink() && !taken.join("b.jar").exists()
    );
}
