//! Settings that are stored before the first push, which creates the app otherwise.

use std::io::Write;

use piku_tests::world::World;

use crate::operator::operate::says;

/// Needs a variable to start, as many apps do.
const WANTS_KEY: &str = r#"#!/usr/bin/python3
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["SECRET_KEY"].encode())
os.environ["SECRET_KEY"]
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;

const PROCFILE: &str = "preflight: echo build sees $SECRET_KEY
release: echo task sees $SECRET_KEY $MORE
web: ./serve
worker: sleep 1000
";

#[test]
fn first_push_uses_stored_settings() {
    let world = World::new();
    let said = says(&world, "config:set blog SECRET_KEY=s3cret", 0);
    let address = format!("ssh://{}@127.0.0.1:{}/blog", world.user(), world.ssh_port());
    assert!(said.contains(&format!("Created blog; push to it with: git push {address} main\n")), "{said}");
    assert!(said.contains("Configuration: set SECRET_KEY\n"), "{said}");
    assert!(said.contains("it holds from the first release on"), "{said}");
    let mut import = world.start_ssh("laptop", "config:import blog");
    import.stdin.take().expect("stdin").write_all(b"MORE=\"a b\"\n").expect("an ENV file");
    let said = import.wait_with_output().expect("ssh ends");
    assert!(said.status.success(), "{said:?}");
    let said = says(&world, "ps:scale blog web=2 worker=0 wrker=3", 0);
    assert!(said.contains("it holds from the first release on") && !said.contains("Created"), "{said}");
    assert_eq!(says(&world, "apps", 0), "blog\n");
    assert_eq!(says(&world, "ps blog", 0), "       blog has no live release: a push deploys one\n");

    let repo = world.repo("blog");
    let said = repo.file("Procfile", PROCFILE).program("serve", WANTS_KEY).commit("One").push().succeeds();
    let warning = "warning: ps:scale has set 'wrker', which is not a process type of the app";
    for expected in [warning, "build sees s3cret", "task sees s3cret a b", "blog is live, release 1"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(world.page("blog"), "s3cret");
    let instances: Vec<_> = world.ps("blog").iter().map(|row| row["instance"].clone()).collect();
    assert_eq!(instances, ["web.1", "web.2"]);
}

#[test]
fn created_app_can_be_destroyed() {
    let world = World::new();
    let said = says(&world, "create blog", 0);
    assert!(said.starts_with("-----> Created blog; push to it with: git push "), "{said}");
    let said = says(&world, "apps:create blog", 1);
    assert!(said.contains("blog exists already\nhint: to deploy to it: git push "), "{said}");
    says(&world, "ps:scale blog web=2", 0);
    says(&world, "config:set blog A=1", 0);
    for words in ["restart blog", "rollback blog", "run blog true"] {
        let said = says(&world, words, 1);
        assert!(said.contains("blog has no release yet\nhint: push it first"), "{words}: {said}");
    }
    says(&world, "stop blog", 0);
    says(&world, "destroy blog --confirm blog", 0);
    assert!(!world.app("blog").exists());
    assert_eq!(says(&world, "apps", 0), "");
    world.repo("blog").serves("one\n").commit("One").push().succeeds();
    assert_eq!(world.ps("blog").len(), 1, "nothing of the destroyed app is left");
}

#[test]
fn only_settings_create_apps() {
    let world = World::new();
    world.add_key("guest", &["blog", "shop"]);
    for words in ["config:set blog BAD", "config:set blog A-B=1", "config:set ../x A=1", "create Blog"] {
        assert!(!world.ssh("laptop", words).status.success(), "{words}");
    }
    assert!(!world.root().join("apps").exists(), "bad input creates nothing");

    says(&world, "create bloh", 0);
    let guest = |words: &str| {
        let out = world.ssh("guest", words);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, said) = guest("config:set other A=1");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("key 'guest' may not use 'other'"), "{said}");
    assert!(!world.app("other").exists());
    let (_, said) = guest("logs blog");
    assert_eq!(said, "piku logs: there is no app 'blog'\n", "no name outside of the key's scope");
    assert_eq!(guest("ps:scale shop web=2").0, Some(0));
    assert!(world.app("shop").exists());

    // A misspelt name stays an error of every other verb.
    for verb in ["logs", "restart", "ps", "stop", "config", "releases", "config:unset", "rollback", "deploy"]
    {
        let out =
            world.ssh("laptop", &format!("{verb} blog{}", if verb == "config:unset" { " A" } else { "" }));
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{verb}: {said}");
        let expected = "there is no app 'blog'\nhint: did you mean 'bloh'?\n";
        assert!(said.contains(expected), "{verb}: {said}");
    }
    assert!(!world.app("blog").exists());
}
