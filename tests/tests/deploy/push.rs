//! The main job: a push over real ssh puts a real app online.

use piku_tests::snapshot::str;
use piku_tests::world::World;

#[test]
fn second_push_replaces_release() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").commit("One");

    let said = repo.push().succeeds_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
       web.1 is healthy after [DURATION]
-----> blog is live, release 1: http://127.0.0.1:[PORT]
 * [new branch]      main -> main
"#]]);
    assert_eq!(world.page("blog"), "one\n");
    let port = world.port("blog");
    assert!(said.contains(&format!("http://127.0.0.1:{port}")), "the push says where the app is:\n{said}");

    repo.file("page", "two\n").commit("Two").push().succeeds_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
       web.1 is healthy after [DURATION]
-----> blog is live, release 2: http://127.0.0.1:[PORT]
   [COMMITS]  main -> main
"#]]);
    assert_eq!(world.page("blog"), "two\n");
    assert_eq!(world.ps("blog").len(), 1, "the old instance is gone: {:#?}", world.ps("blog"));
}

#[test]
fn push_after_rollback_deploys_newer_commit() {
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
    repo.push().succeeds_as(str![[r#"
-----> Nothing has changed: [SHORT] of blog is live as release 5
       to rebuild it: ssh -p [PORT] [USER]@127.0.0.1 deploy blog --no-cache
Everything up-to-date
"#]]);
}

#[test]
fn python_dependencies_are_installed_once() {
    let world = World::new();
    let repo = world.repo("site");
    repo.file("requirements.txt", "itsdangerous==2.2.0\n")
        .file("Procfile", "web: python app.py\n")
        .file("app.py", PYTHON_APP)
        .commit("One");

    repo.push().succeeds_as(str![[r#"
-----> Python app detected: there is a requirements.txt
       Sandbox: [PROTECTIONS]
-----> Python [VERSION] (the machine's python3)
-----> Installing dependencies: layer venv [SHORT]
-----> Installing tools for all apps: layer pip [SHORT]
...
       Using Python [VERSION] environment at: /layers/venv
       Resolved 1 package in [DURATION]
       Prepared 1 package in [DURATION]
       Installed 1 package in [DURATION]
        + itsdangerous==2.2.0
-----> Process types: web
-----> Starting web.1 on port [PORT]
       web.1 is healthy after [DURATION]
-----> site is live, release 1: http://127.0.0.1:[PORT]
 * [new branch]      main -> main
"#]]);
    assert_eq!(world.page("site"), "signed: hello\n");

    repo.file("app.py", PYTHON_APP.replace("hello", "goodbye")).commit("Two").push().succeeds_as(str![[r#"
-----> Python app detected: there is a requirements.txt
       Sandbox: [PROTECTIONS]
-----> Python [VERSION] (the machine's python3)
-----> Dependencies are unchanged: layer venv [SHORT]
-----> Process types: web
-----> Starting web.1 on port [PORT]
       web.1 is healthy after [DURATION]
-----> site is live, release 2: http://127.0.0.1:[PORT]
   [COMMITS]  main -> main
"#]]);
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
fn web_and_worker_run_in_jail() {
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
fn limited_key_cannot_push_other_app() {
    let world = World::new();
    world.add_key("guest", &["blog"]);
    world.repo_with_key("blog", "guest").serves("guest\n").commit("One").push().succeeds();
    assert_eq!(world.page("blog"), "guest\n");
    world.repo_with_key("shop", "guest").serves("x").commit("One").push().fails_as(str![[r#"
piku: key 'guest' may not use 'shop', only blog
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"#]]);
    assert!(!world.app("shop").exists(), "nothing was made for the refused app");
}

#[test]
fn failed_deploy_keeps_log() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("one\n").file("Procfile", "web: echo the reason is here; exit 3\n").commit("One");
    repo.push().fails_as(str![[r#"
-----> Binary app detected: there is a Procfile
       Sandbox: [PROTECTIONS]
-----> Process types: web
-----> Starting web.1 on port [PORT]
 !     web.1 exited with code 3 before it was ready
 !     the last lines of its log:
 !       the reason is here
 !     deploy 1 of blog failed at: start (exit 1); nothing was changed
 * [new branch]      main -> main
"#]]);
    let log = world.tool("piku-run").args(["logs", "blog", "--deploy"]).output().expect("logs");
    assert!(String::from_utf8_lossy(&log.stdout).contains("the reason is here"), "{log:?}");
}
