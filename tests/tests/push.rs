//! The main job: a push over real ssh puts a real app online.

use piku_tests::world::World;

#[test]
fn a_first_push_serves_and_a_second_one_replaces_it() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One");

    let said = repo.push().succeeds();
    assert_eq!(world.page("blog"), "one\n");
    let port = world.port("blog");
    assert!(said.contains(&format!("http://127.0.0.1:{port}")), "the push says where the app is:\n{said}");

    repo.file("page", "two\n").commit("Two").push().succeeds();
    assert_eq!(world.page("blog"), "two\n");
    assert_eq!(world.ps("blog").len(), 1, "the old instance is gone: {:#?}", world.ps("blog"));
}

#[test]
fn a_push_after_a_rollback_brings_the_newer_commit_back() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One").push().succeeds();
    repo.file("page", "two\n").commit("Two").push().succeeds();
    assert!(world.ssh("laptop", "rollback blog").status.success());
    assert_eq!(world.page("blog"), "one\n");

    let said = repo.push().succeeds();
    assert!(!said.contains("Nothing has changed"), "{said}");
    assert_eq!(world.page("blog"), "two\n");
    // Other settings make a release of the same commit.
    assert!(world.ssh("laptop", "config:set blog A=1").status.success());
    let said = repo.push().succeeds();
    assert!(said.contains("-----> Nothing has changed: "), "{said}");
}

#[test]
fn a_python_app_with_a_dependency_is_built_once_and_served() {
    let world = World::new();
    let repo = world.repo("site");
    repo.file("requirements.txt", "itsdangerous==2.2.0\n")
        .file("Procfile", "web: python app.py\n")
        .file("app.py", PYTHON_APP)
        .commit("One");

    let said = repo.push().succeeds();
    assert!(said.contains("-----> Python app detected"), "{said}");
    assert_eq!(world.page("site"), "signed: hello\n");

    let said = repo.file("app.py", PYTHON_APP.replace("hello", "goodbye")).commit("Two").push().succeeds();
    assert!(!said.contains("Collecting"), "nothing is installed again:\n{said}");
    assert_eq!(world.page("site"), "signed: goodbye\n");
}

const PYTHON_APP: &str = r#"
import http.server, os
from itsdangerous import Signer

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        signed = Signer("secret").sign(b"hello")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"signed: " + Signer("secret").unsign(signed) + b"\n")

http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], int(os.environ["PORT"])), Page).serve_forever()
"#;

#[test]
fn web_and_worker_run_side_by_side_in_their_jail() {
    let world = World::new();
    let repo = world.repo("shop");
    repo.serves("shop\n")
        .file("Procfile", "web: ./serve\nworker: ./work\n")
        .program(
            "work",
            "#!/bin/sh\necho \"working as $PS in $(pwd), sees $(ls /app | wc -l) files\"\nexec sleep 1000\n",
        )
        .commit("One")
        .push()
        .succeeds();

    let ps = world.ps("shop");
    let types: Vec<_> = ps.iter().map(|row| row["instance"].as_str().unwrap_or_default()).collect();
    assert_eq!(types, ["web.1", "worker.1"], "{ps:#?}");
    piku_tests::world::wait_for("the worker's line in its log", || {
        let log = world.tool("piku-run").args(["logs", "shop", "--ps", "worker.1"]).output().expect("logs");
        String::from_utf8_lossy(&log.stdout).contains("working as worker.1 in /app, sees 4 files")
    });
}

#[test]
fn a_key_that_is_limited_to_one_app_reaches_no_other() {
    let world = World::new();
    world.add_key("guest", &["blog"]);
    world.repo_with_key("blog", "guest").serves("guest\n").commit("One").push().succeeds();
    assert_eq!(world.page("blog"), "guest\n");
    world.repo_with_key("shop", "guest").serves("x").commit("One").push().fails_with(&["shop"]);
    assert!(!world.app("shop").exists(), "nothing was made for the refused app");
}

#[test]
fn the_log_of_a_failed_deploy_is_kept() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").file("Procfile", "web: echo the reason is here; exit 3\n").commit("One");
    repo.push().fails_with(&["the reason is here"]);
    let log = world.tool("piku-run").args(["logs", "blog", "--deploy"]).output().expect("logs");
    assert!(String::from_utf8_lossy(&log.stdout).contains("the reason is here"), "{log:?}");
}
