//! Layers of packages whose install scripts leave there what they like, and what piku reads of them afterwards.

use std::fs;
use std::process::Command;

use piku_tests::repo::Repo;
use piku_tests::snapshot::text;

use crate::victim::VictimWorld;

/// Commits a package in the app itself, whose script this is: no registry is asked.
fn bring_package(repo: &Repo, script: &str) {
    repo.file(
        "package/package.json",
        r#"{"name": "dep", "version": "1.0.0", "scripts": {"install": "sh install.sh"}}"#,
    )
    .file("package/install.sh", script);
    let tar = ["-czf", "dep-1.0.0.tgz", "package"];
    assert!(Command::new("tar").args(tar).current_dir(repo.path()).status().expect("tar runs").success());
    fs::remove_dir_all(repo.path().join("package")).expect("a folder to remove");
}

/// A package.json with the package, and with more.
fn package(more: &str) -> String {
    format!(
        r#"{{"name": "evil", "version": "1.0.0", "dependencies": {{"dep": "file:dep-1.0.0.tgz"}}{more}}}"#
    )
}

#[test]
fn install_scripts_cannot_fake_layer() {
    let host = VictimWorld::new(&[], &[]);
    let repo = host.attacker("evil");
    let layers = || fs::read_dir(host.world.app("evil").join("layers")).map_or(0, Iterator::count);
    for (swap, more) in [
        // A layer that is mounted, and one that is copied into the tree. In the jail too something lies there: its own.
        ("mkdir -p @HOME@/.ssh; mv node_modules .nm; ln -s @HOME@/.ssh node_modules", ""),
        (
            "mkdir -p @ROOT@/apps/victim/data; mv node_modules .nm; ln -s @ROOT@/apps/victim/data node_modules",
            r#", "scripts": {"build": "true"}"#,
        ),
    ] {
        bring_package(&repo, &host.aimed(&format!("cd \"$INIT_CWD\"; {swap}\n")));
        let said = repo.file("package.json", package(more)).commit("Swap").push();
        let why = "left a link in place of the folder 'node_modules'";
        let said = said.fails_with(&[why, "hint: an install script of a dependency"]);
        host.assert_untouched(&said);
        assert_eq!(layers(), 0, "{said}");
    }
    // Inside of it anything may lie; of each build another, so that a rebuild looks at both.
    let odd =
        "cd \"$INIT_CWD/node_modules\"; mkdir a b c d; mkfifo a/package.json; ln -s /dev/zero b/package.json
               ln -s @HOME@/key c/package.json; truncate -s 64M d/package.json; date +%N >stamp";
    bring_package(&repo, &host.aimed(odd));
    let said = repo.file("package.json", package("")).commit("Odd").push().succeeds();
    host.assert_untouched(&said);
    let tool = host.world.tool("piku-build");
    // One that reads without an end has an end here.
    let bounded = "ulimit -v 4000000; exec timeout 100 \"$0\" rebuild evil";
    let out =
        host.world.command("sh").args(["-c", bounded]).arg(tool.get_program()).output().expect("sh runs");
    let said = text(&out);
    assert!(out.status.success() && said.contains("evil: built anew"), "{said}");
    host.assert_untouched(&said);
}
