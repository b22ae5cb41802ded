//! The operator's verbs, as a laptop says them: `ssh piku@host VERB APP …`.

use std::os::unix::fs::MetadataExt;

use piku_tests::http;
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

/// Serves what the variable GREETING holds.
const GREETS: &str = r#"#!/usr/bin/python3
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((os.environ.get("GREETING", "nothing") + "\n").encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"#;

/// A world with one app, `blog`, live.
fn live() -> World {
    let world = World::new();
    let repo = world.repo("blog");
    repo.file("Procfile", "web: ./serve\n").program("serve", GREETS).commit("One").push().succeeds();
    world
}

/// Says `words` over ssh as the key `laptop`; they must end with `code`. Returns what was printed, stdout and stderr.
pub(crate) fn says(world: &World, words: &str, code: i32) -> String {
    let out = world.ssh("laptop", words);
    let said = text(&out);
    assert_eq!(out.status.code(), Some(code), "{words}: {said}");
    said
}

#[test]
fn config_change_is_live_at_once() {
    let world = live();
    assert_eq!(world.page("blog"), "nothing\n");
    says(&world, "config:set blog 'GREETING=a \"b\" $c {\"d\": 1}' SECRET=x", 0);
    assert_eq!(world.page("blog"), "a \"b\" $c {\"d\": 1}\n");
    assert_eq!(says(&world, "config:get blog GREETING", 0), "a \"b\" $c {\"d\": 1}\n");
    says(&world, "config:unset blog GREETING", 0);
    assert_eq!(world.page("blog"), "nothing\n");
    says(&world, "config:get blog GREETING", 1);
    assert_eq!(says(&world, "config:get blog SECRET", 0), "x\n");
}

#[test]
fn one_off_process_returns_exit_code() {
    let world = live();
    says(&world, "config:set blog GREETING=hi", 0);
    assert_eq!(says(&world, "run blog sh -c 'echo $GREETING from $PWD; exit 7'", 7), "hi from /app\n");
    assert_eq!(says(&world, "run blog ls /home", 0), "", "no sight of the host's own folders");
}

#[test]
fn one_off_process_gets_terminal() {
    let world = live();
    let words = "run blog sh -c 'tty; tty </dev/tty; test -t 2 && echo all; exit 7'";
    let out = world.ssh_on_a_terminal("laptop", words);
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said, "/dev/pts/0\r\n/dev/tty\r\nall\r\n", "{out:?}");
    assert_eq!(out.status.code(), Some(7));
    assert_eq!(says(&world, "run blog sh -c 'tty; exit 7'", 7), "not a tty\n");
}

#[test]
fn verb_options_stay_within_app() {
    let world = live();
    for words in [
        "deploy blog --scripts=/tmp",
        "deploy --scripts /tmp blog",
        "config blog --root=/tmp",
        "logs blog --root /tmp",
        "ps --root=/tmp blog",
        "run --root /tmp blog id",
    ] {
        let out = world.ssh("laptop", words);
        assert!(matches!(out.status.code(), Some(1 | 2)), "{words}: {out:?}");
        assert!(out.stdout.is_empty(), "{words}: {out:?}");
    }
    // What belongs to the command that is run is its own.
    says(&world, "run blog echo --root /tmp", 0);
}

#[test]
fn stopped_stays_stopped_until_restarted() {
    let mut world = live();
    let port = world.port("blog");
    says(&world, "stop blog", 0);
    assert!(http::get(port, "/").is_err());
    world.end_daemon(nix::sys::signal::Signal::SIGTERM);
    world.start_daemon();
    assert_eq!(world.ps("blog")[0]["state"], "stopped");
    says(&world, "restart blog", 0);
    assert_eq!(world.page("blog"), "nothing\n");
}

#[test]
fn scaled_instances_have_own_ports() {
    let world = live();
    says(&world, "ps:scale blog web=3", 0);
    let mut ports: Vec<_> =
        world.ps("blog").iter().map(|row| row["port"].as_u64().expect("a port")).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3, "{:#?}", world.ps("blog"));
    for port in ports {
        let port = u16::try_from(port).expect("a port");
        assert_eq!(http::get(port, "/").expect("it answers").1, "nothing\n");
    }
    says(&world, "ps:scale blog web=1", 0);
    // What is too much serves nobody from now on, and is then given its time to end.
    wait_for("the end of the other two", || world.ps("blog").len() == 1);
}

#[test]
fn rollback_creates_new_release() {
    let world = live();
    let repo = world.repo("blog2");
    repo.serves("one\n").commit("One").push().succeeds();
    repo.file("page", "two\n").commit("Two").push().succeeds();
    says(&world, "rollback blog2", 0);
    assert_eq!(world.page("blog2"), "one\n");
    let releases = says(&world, "releases blog2 --format json", 0);
    let releases: Vec<serde_json::Value> = serde_json::from_str(&releases).expect("an array");
    let numbers: Vec<_> = releases.iter().map(|row| row["release"].as_u64().unwrap_or_default()).collect();
    assert_eq!(numbers, [3, 2, 1], "newest first: {releases:#?}");
    assert_eq!(releases[0]["subject"], "rollback to 1: One", "{releases:#?}");
    assert_eq!(releases[0]["commit"], releases[2]["commit"], "{releases:#?}");
}

/// A large file of which a line changes; nothing can compress it.
fn large(version: u8) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut content: Vec<u8> = std::iter::repeat_with(next).take(100_000).collect();
    content[1000] = version;
    content.splice(70_000..70_000, [version; 3]);
    content
}

#[test]
fn rollback_restores_release_of_older_piku() {
    /// The delta from `large(2)` to `large(1)`, as piku 0.2 wrote it.
    const FRAME: [u8; 39] = [
        40, 181, 47, 253, 164, 163, 134, 1, 0, 189, 0, 0, 32, 1, 1, 1, 1, 3, 16, 16, 45, 181, 169, 225, 62,
        132, 13, 166, 134, 249, 149, 55, 53, 172, 130, 78, 84, 229, 20,
    ];
    let world = live();
    let repo = world.repo("blog2");
    repo.serves("one\n").file("large", large(1)).commit("One").push().succeeds();
    repo.file("page", "two\n").file("large", large(2)).commit("Two").push().succeeds();
    let releases = world.app("blog2").join("releases");
    std::fs::remove_file(releases.join("1/app/large")).expect("the file");
    std::fs::create_dir_all(releases.join("1/delta/2")).expect("what differs");
    std::fs::write(releases.join("1/delta/2/large"), FRAME).expect("what differs");
    std::fs::write(releases.join("1/delta/done"), "").expect("what differs");
    // It is piku's own, whoever runs this test.
    let owner = std::fs::metadata(releases.join("1")).expect("the release");
    for path in ["delta", "delta/done", "delta/2", "delta/2/large"] {
        std::os::unix::fs::chown(releases.join("1").join(path), Some(owner.uid()), Some(owner.gid()))
            .expect("what differs");
    }
    let pack = world.tool("piku-build").arg("pack").arg(releases.join("1")).output().expect("pack");
    assert!(String::from_utf8_lossy(&pack.stderr).contains("piku rollback blog2 1"), "{pack:?}");
    says(&world, "gc blog2", 0);
    assert!(releases.join("1/delta/2/large").exists(), "it stays as it is until somebody wants it");

    says(&world, "rollback blog2 1", 0);
    assert_eq!(world.page("blog2"), "one\n");
    for number in ["1", "3"] {
        let file = releases.join(number).join("app/large");
        assert!(std::fs::read(file).expect("the file") == large(1), "release {number}");
        assert!(!releases.join(number).join("delta").exists(), "release {number}");
    }
}

#[test]
fn logs_show_worker_output() {
    let world = live();
    assert_eq!(world.page("blog"), "nothing\n");
    wait_for("the request in the log", || says(&world, "logs blog -n 20", 0).contains("GET / HTTP"));
    let deploy = says(&world, "logs blog --deploy", 0);
    assert!(deploy.contains("-----> blog is live, release 1"), "{deploy}");
    says(&world, "logs nothing-here", 1);
}

#[test]
fn destroy_needs_confirmation_and_keeps_data() {
    let world = live();
    says(&world, "run blog sh -c 'echo kept > /data/file'", 0);
    let port = world.port("blog");
    let refused = world.ssh("laptop", "destroy blog");
    assert!(!refused.status.success());
    assert!(http::get(port, "/").is_ok(), "still there");
    says(&world, "destroy blog --confirm blog", 0);
    assert!(http::get(port, "/").is_err());
    assert!(!world.app("blog").join("repo.git").exists());
    assert_eq!(std::fs::read_to_string(world.app("blog").join("data/file")).expect("the data"), "kept\n");
    says(&world, "destroy blog --confirm blog", 0);
    // Another owner of the name must not get the data.
    world.add_key("other", &["blog"]);
    let other = world.repo_with_key("blog", "other");
    let refused = other.serves("again\n").commit("Again").push();
    let refused = refused.fails_with(&["blog was destroyed, and what it had is kept"]);
    assert!(refused.contains("hint: to bring it back: piku restore blog"), "{refused}");
    for words in ["create blog", "config:set blog A=1", "ps:scale blog web=1"] {
        assert!(says(&world, words, 1).contains("blog was destroyed"), "{words}");
    }
    says(&world, "data:remove blog --confirm blog", 0);
    other.push().succeeds();
    assert_eq!(world.page("blog"), "again\n");
    says(&world, "run blog test ! -e /data/file", 0);
}
