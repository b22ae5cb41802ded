//! Refusals before a build: a release that the machines would refuse is not built.

use std::fs;

use piku_tests::scene::Scene;

/// Tells of an older system, and does nothing else.
const MACHINE: &str = r#"#!/bin/sh
case $SSH_ORIGINAL_COMMAND in
    "release:machine "*) printf '{"architecture":"%s","python":["3.2"]}' "$(uname -m)" ;;
    *) echo 'asked too late' >&2; exit 1 ;;
esac
"#;

#[test]
fn machines_that_would_refuse_a_release_are_known_before_the_build() {
    let Some(scene) = Scene::new() else { return };
    let repo = scene.builder.repo("blog");
    repo.file("Procfile", "worker: python app.py\n").file("app.py", "import time\ntime.sleep(1000)\n");
    repo.file("requirements.txt", "");
    let is_unbuilt = |said: &str| {
        let layers = scene.builder.app("blog").join("layers");
        let is_empty = fs::read_dir(&layers).map_or(true, |mut entries| entries.next().is_none());
        assert!(is_empty && !said.contains("asked too late"), "{said}");
    };

    // The app is locked on one of them.
    scene.deploy_to("here: false, patience: 0, all_or_nothing: true");
    scene.config(1, "config:set blog --no-restart A=1");
    scene.config(1, "lock blog --reason freeze");
    let name = scene.name(1);
    let locked = format!("{name}: blog is locked by laptop");
    let said = scene.push(repo.commit("One")).fails_with(&[&locked, "freeze", "nothing was built"]);
    is_unbuilt(&said);

    // One of them has another Python.
    scene.replace_machine(&scene.runners[1], MACHINE);
    let missing = format!("which is missing on {name} (3.2)");
    let hint = "install python3.";
    let said = scene.push(repo.commit("Two")).fails_with(&[&missing, hint, "nothing was changed"]);
    is_unbuilt(&said);
    let dry = scene.lan.on(0, || repo.push_with(&["-o", "dry-run", "piku", "main"]));
    is_unbuilt(&dry.fails_with(&[&missing]));

    // The other one continues, unless it is to be all or nothing.
    scene.deploy_to("here: false, patience: 0");
    let deployed = format!("{}: release 1 is live", scene.name(0));
    scene.push(repo.commit("Three")).fails_with(&[&missing, "the others continue", &deployed]);
    scene.end();
}
