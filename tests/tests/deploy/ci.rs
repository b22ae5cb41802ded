//! The workflows of docs/ci.md: their shell commands push with a key for one app.

use std::fs;
use std::process::{Command, Output};

use piku_tests::snapshot::text;
use piku_tests::tools::repository;
use piku_tests::world::World;

/// Returns the shell commands of the workflows: what is indented below `run: |` and `- |`.
fn workflow_scripts() -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/ci.md")).expect("docs/ci.md");
    let mut scripts: Vec<String> = Vec::new();
    let mut depth = None;
    for line in page.lines() {
        let indent = line.len() - line.trim_start().len();
        if depth.is_some_and(|depth| indent <= depth) {
            depth = None;
        }
        if depth.is_some() {
            let script = scripts.last_mut().expect("a script");
            script.push_str(line.trim_start());
            script.push('\n');
        }
        if line.trim_start() == "run: |" || line.trim_start() == "- |" {
            depth = Some(indent);
            scripts.push(String::new());
        }
    }
    scripts
}

#[test]
fn documented_workflows_push_with_scoped_key() {
    let world = World::new();
    world.add_key("ci", &["blog"]);
    let key = fs::read_to_string(world.path("laptop/ci_key")).expect("the key");
    let port = world.ssh_port().to_string();
    let scan = Command::new("ssh-keyscan").args(["-t", "ed25519", "-p", &port, "127.0.0.1"]).output();
    let hosts = String::from_utf8(scan.expect("ssh-keyscan runs").stdout).expect("text");
    let scripts = workflow_scripts();
    assert_eq!(scripts.len(), 2, "{scripts:?}");
    let repo = world.repo("blog");
    let push = |script: &str, app: &str, hosts: &str| -> Output {
        // As both services run it.
        let mut shell = Command::new("bash");
        shell.args(["-e", "-c", script]).current_dir(repo.path()).env_remove("GIT_SSH_COMMAND");
        shell.env("PIKU_KEY", key.trim_end()).env("PIKU_KNOWN_HOSTS", hosts.trim_end());
        shell.env("PIKU_URL", world.url(app)).env("HOME", world.path("laptop")).output().expect("bash runs")
    };
    for (script, page) in scripts.iter().zip(["one\n", "two\n"]) {
        repo.serves(page).commit(page.trim_end());
        let out = push(script, "blog", &hosts);
        assert!(out.status.success(), "{}", text(&out));
        assert_eq!(world.page("blog"), page);

        let out = push(script, "shop", &hosts);
        assert!(!out.status.success() && text(&out).contains("may not use 'shop'"), "{}", text(&out));
        let out = push(script, "blog", "");
        assert!(
            !out.status.success() && text(&out).contains("Host key verification failed"),
            "{}",
            text(&out)
        );
    }
    repo.file("Procfile", "web: ./missing\n").commit("Broken");
    let out = push(&scripts[0], "blog", &hosts);
    assert!(!out.status.success(), "a failed deploy fails the job: {}", text(&out));
    assert_eq!(world.page("blog"), "two\n");
}
