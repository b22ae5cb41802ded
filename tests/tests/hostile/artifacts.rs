//! What compilers have made, taken out of a tree in which a build step has put links where folders were.

use crate::victim::VictimWorld;

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
fn what_maven_makes_replaces_nothing_behind_a_link() {
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
    // What a step leaves in the place of the folder that is taken is no folder.
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
