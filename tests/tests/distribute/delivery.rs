//! A build host and target hosts: releases go over real ssh to machines on one LAN.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::processes;
use piku_tests::repo::{Push, Repo};
use piku_tests::scene::Scene;
use piku_tests::world::{PATIENCE, World, wait_for};

/// Fails on a machine whose own configuration says so.
const APP: &str = r#"
import http.server, os, sys, tiny

if os.environ.get("FAIL"):
    sys.exit("told to fail")

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((tiny.NAME + " " + open("page").read()).encode())

http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], int(os.environ["PORT"])), Page).serve_forever()
"#;

/// Makes a wheel with 24 MB in it that no compressor makes smaller, so that no index is needed, and there is a line to cut.
const WHEEL: &str = r#"
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/tiny-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("tiny/__init__.py", "NAME = 'tiny'\n")
    wheel.writestr("tiny/data", os.urandom(24_000_000))
    wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("tiny-1.0.dist-info/RECORD", "tiny/__init__.py,,\ntiny/data,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n")
"#;

/// Starts a push, and cuts the line to the second machine when some of the layer is there.
fn push_and_cut(scene: &Scene, repo: &Repo) -> Push {
    let mut push = scene.lan.on(0, || repo.start_push());
    let mut ends = || push.try_wait().expect("git push").is_some();
    // A build takes as long as it takes: how long the layer needs is counted from its end.
    let layers = scene.builder.app("blog").join("layers");
    let is_built = || names(&layers).iter().any(|name| layers.join(name).join("complete").exists());
    let mut has_ended = false;
    for _ in 0..10 * PATIENCE.as_secs() {
        has_ended = ends();
        if has_ended || is_built() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let incoming = scene.runners[1].app("blog").join("incoming");
    let half = || {
        let entries = fs::read_dir(&incoming).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".half"))
            .map(|entry| entry.metadata().map(|meta| meta.len()).unwrap_or_default())
            .max()
            .unwrap_or_default()
    };
    // It is held where it is, so that the line is cut in the middle however fast the machine is.
    let mut held = Vec::new();
    wait_for("some of the layer", || {
        if half() > 0 {
            held = processes::find(&scene.runners[1].root(), "piku-receive --key builder");
            signal(&held, Signal::SIGSTOP);
        }
        has_ended = has_ended || ends();
        has_ended || !held.is_empty()
    });
    if held.is_empty() {
        // Who asked says what it said.
        return Push::from(push.wait_with_output().expect("git push"));
    }
    scene.lan.cut(2);
    signal(&held, Signal::SIGCONT);
    Push::from(push.wait_with_output().expect("git push"))
}

fn signal(pids: &[i32], signal: Signal) {
    for pid in pids {
        kill(Pid::from_raw(*pid), signal).expect("a process that is held");
    }
}

fn audit(world: &World) -> String {
    fs::read_to_string(world.root().join("audit.log")).unwrap_or_default()
}

/// Returns the number of bytes that a push reports as sent to a machine.
fn sent(said: &str, name: &str) -> u64 {
    let front = format!("{name} |        sent ");
    let line =
        said.lines().find_map(|line| line.strip_prefix(&front)).unwrap_or_else(|| panic!("{front}\n{said}"));
    line.split(' ').next().expect("a number").parse().expect("a number")
}

#[test]
fn build_host_distributes_release() {
    let Some(scene) = Scene::new() else { return };
    let lan = &scene.lan;
    let repo = scene.builder.repo("blog");
    let made = Command::new("python3").args(["-c", WHEEL]).arg(repo.path()).status().expect("python3");
    assert!(made.success());
    repo.file("requirements.txt", "./tiny-1.0-py3-none-any.whl\n")
        .file("Procfile", "web: python app.py\nrelease: echo migrating on $HOSTNAME\n")
        .file("app.py", APP)
        .file("page", "one")
        .commit("One");

    // Cut off in the middle: the other machine has it, this one is named, and nothing is lost.
    scene.deploy_to("here: false, patience: 1");
    let said = push_and_cut(&scene, &repo).fails_with(&[
        &format!("{}: no connection", scene.name(1)),
        &format!("{}: release 1 is live", scene.name(0)),
        "1 of 2 machines failed",
    ]);
    let whole = sent(&said, &scene.name(0));
    assert!(whole > 24_000_000, "{said}");
    assert_eq!(lan.on(1, || scene.runners[0].page("blog")), "tiny one");
    assert!(scene.runners[1].releases("blog").is_empty());

    // Once it is back, a push goes on where the line broke.
    lan.restore(2);
    scene.deploy_to("here: false, patience: 60");
    let said = scene.push(&repo).succeeds();
    assert_eq!(scene.pages(), ["tiny one", "tiny one"]);
    assert!(said.contains(&format!("{} |        resumed after ", scene.name(1))), "{said}");
    assert!(sent(&said, &scene.name(1)) < whole, "{said}");
    assert!(said.contains(&format!("{} | -----> ", scene.name(1))), "each machine's own words:\n{said}");
    assert!(scene.builder.releases("blog").is_empty(), "the builder runs nothing");
    for world in &scene.runners {
        assert!(
            audit(world).contains(" builder release:deploy blog deployed as release "),
            "{}",
            audit(world)
        );
        assert!(names(&world.app("blog").join("incoming")).is_empty());
    }

    assert_eq!(names(&scene.builder.app("blog").join("layers")).len(), 1);

    // A layer that is there is not sent.
    let said = scene.push(repo.file("page", "two").commit("Two")).succeeds();
    assert_eq!(scene.pages(), ["tiny two", "tiny two"]);
    assert!(sent(&said, &scene.name(0)) * 2 < whole + 24_000_000, "{said}");

    // Its own configuration: one of them fails, and keeps what it had.
    scene.config(1, "config:set blog --no-restart FAIL=1");
    repo.file("page", "three").commit("Three");
    scene.push(&repo).fails_with(&["told to fail", &format!(" !     {}: failed", scene.name(1))]);
    assert_eq!(scene.pages(), ["tiny three", "tiny two"]);

    // All or nothing: the other one goes back.
    scene.deploy_to("here: false, patience: 60, all_or_nothing: true");
    repo.file("page", "four").commit("Four");
    scene.push(&repo).fails_with(&["told to fail", "the others roll back", "unchanged"]);
    assert_eq!(scene.pages(), ["tiny three", "tiny two"]);
    assert!(audit(&scene.runners[0]).contains("release:undo blog rolled back from release"));

    // Two at once, one after the other; and on the machine that builds, too.
    scene.config(1, "config:unset blog --no-restart FAIL");
    scene.deploy_to("patience: 60, all_or_nothing: true");
    let deploys = lan.on(0, || {
        std::thread::scope(|_| {
            let mut running: Vec<_> =
                (0..2).map(|_| scene.builder.start_ssh("laptop", "deploy blog")).collect();
            running.drain(..).map(|child| child.wait_with_output().expect("ssh")).collect::<Vec<_>>()
        })
    });
    for out in deploys {
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    assert_eq!(scene.pages(), ["tiny four", "tiny four"]);
    assert_eq!(lan.on(0, || scene.builder.page("blog")), "tiny four");

    // A key that is for one app brings no other.
    let shop = scene.builder.repo("shop");
    shop.serves("shop").commit("Shop");
    scene.deploy_to("here: false, patience: 60");
    scene.push(&shop).fails_with(&["key 'builder' may not use 'shop', only blog", "2 of 2 machines failed"]);
    assert!(!scene.runners[0].app("shop").exists());
    assert!(audit(&scene.runners[0]).contains("builder release:machine shop refused"));

    strangers(&scene);
    scene.end();
}

/// A damaged part, and a release for another machine, are refused before anything is stored.
fn strangers(scene: &Scene) {
    let world = &scene.runners[0];
    let ask = |words: &str, input: &[u8]| {
        scene.lan.on(1, || {
            let mut child = world.start_ssh("laptop", words);
            let _ = child.stdin.take().expect("stdin").write_all(input);
            let out = child.wait_with_output().expect("ssh");
            (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
        })
    };
    let sum = "0".repeat(64);
    let (code, said) = ask(&format!("release:take blog {sum} 5"), b"hello");
    assert!(code == Some(1) && said.contains("has a wrong hash and was discarded"), "{said}");
    let (code, said) = ask(&format!("release:take blog {sum} 5"), b"hel");
    assert!(code == Some(75) && said.contains("connection lost: received 3 of 5 bytes"), "{said}");
    let (code, said) = ask(&format!("release:deploy blog {sum}"), b"");
    assert!(code == Some(75) && said.contains("is missing"), "{said}");
    let (code, said) = ask("release:undo blog 999", b"");
    assert!(code == Some(1) && said.contains("cannot undo release 999"), "{said}");
    let mut pack = scene.builder.tool("piku-build");
    pack.arg("pack").arg(scene.builder.app("blog").join("current")).args(["--part", "head", "--layers"]);
    let head = pack.arg(scene.builder.app("blog").join("layers")).output().expect("piku-build").stdout;
    let head = String::from_utf8(head).expect("text");
    let other = head.replace("\"architecture\":\"any\"", "\"architecture\":\"sparc64\"");
    let (code, said) = ask("release:offer blog", other.as_bytes());
    assert!(code == Some(1) && said.contains("this release was built for sparc64"), "{said}");
    let (code, said) = ask("release:offer shop", head.as_bytes());
    assert!(code == Some(1) && said.contains("this is a release of blog, not of shop"), "{said}");
    assert_eq!(scene.pages(), ["tiny four", "tiny four"]);
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
