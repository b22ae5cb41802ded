//! A machine builds for others of another kind: each kind is built for once, and each machine gets its own.

use piku_tests::repo::Repo;
use piku_tests::scene::Scene;
use piku_tests::world::World;

/// Says for which machine the program beside it was built, and what the page is. It runs on all of them.
const SERVE: &str = r#"
import http.server, os

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        program = open("bin/blog", "rb").read(20) if os.path.exists("bin/blog") else bytes(20)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{program[18]} {open('page').read()}".encode())

http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], int(os.environ["PORT"])), Page).serve_forever()
"#;

/// `e_machine` of 32-bit ARM.
const ARM: u8 = 40;

/// The same of this machine.
fn own() -> u8 {
    std::fs::read("/bin/sh").expect("a program")[18]
}

fn blog(builder: &World) -> Repo {
    let repo = builder.repo("blog");
    repo.file("go.mod", "module example.org/blog\n\ngo 1.17\n")
        .file("main.go", "package main\n\nfunc main() {}\n")
        .file("Procfile", "web: python3 serve.py\n")
        .file("serve.py", SERVE)
        .file("page", "one")
        .commit("One");
    repo
}

#[test]
fn each_architecture_gets_its_own_build() {
    let Some(scene) = Scene::new() else { return };
    let here = || scene.lan.on(0, || scene.builder.page("blog"));
    let is = |page: &str, arm: &str| {
        let own = format!("{} {page}", own());
        assert_eq!(here(), own);
        assert_eq!(scene.pages(), [own, format!("{ARM} {arm}")]);
    };
    // One of them is a Pi, as far as anybody can tell from outside.
    scene.runners[1].set_settings("architecture: armhf");
    let repo = blog(&scene.builder);
    scene.deploy_to("patience: 60");

    // The plan of each, and nothing else.
    let said = scene.lan.on(0, || repo.push_with(&["-o", "dry-run", "piku", "main"])).succeeds();
    assert!(said.contains(&format!("{} is armv7l", scene.name(1))), "{said}");
    assert_eq!(said.matches("runtime  go").count(), 2, "{said}");
    assert!(scene.builder.releases("blog").is_empty());

    let said = scene.push(&repo).succeeds();
    is("one", "one");
    assert!(said.contains(&format!("Sending the release for armv7l to {}", scene.name(1))), "{said}");
    assert_eq!(said.matches("-----> Go app detected").count(), 2, "{said}");
    for world in [&scene.builder, &scene.runners[0], &scene.runners[1]] {
        assert_eq!(world.releases("blog"), ["1"]);
    }

    // What cannot be built for one kind: the others go on, and it keeps what it has.
    repo.file("page", "two").file("wrong_arm.go", "package main\n\nfunc wrong() int { return \"x\" }\n");
    repo.commit("Two");
    scene.push(&repo).fails_with(&[
        "wrong_arm.go:3:",
        &format!("{}: its release could not be built", scene.name(1)),
        &format!("{}: release 2 is live", scene.name(0)),
        "1 of 2 machines failed",
    ]);
    is("two", "one");

    // All or nothing: nothing is deployed anywhere.
    scene.deploy_to("patience: 60, all_or_nothing: true");
    repo.file("page", "three").commit("Three");
    scene.push(&repo).fails_with(&["wrong_arm.go:3:", "failed at: build", "nothing was changed"]);
    is("two", "one");

    // Mended, and one of them is not there: without it nothing is even built.
    repo.without("wrong_arm.go").file("page", "four").commit("Four");
    scene.deploy_to("patience: 1, all_or_nothing: true");
    scene.lan.cut(2);
    let said = scene.push(&repo).fails_with(&[
        &format!("{}: no connection", scene.name(1)),
        "1 of 2 machines failed; nothing was built",
    ]);
    assert!(!said.contains("Go app detected"), "{said}");
    is_after_mend(&scene, &repo);
    is("four", "four");
    scene.end();
}

/// The other one alone gets it, and both once the line is mended.
fn is_after_mend(scene: &Scene, repo: &Repo) {
    scene.deploy_to("patience: 1, here: false");
    let said = scene.push(repo).fails_with(&[
        "the others continue",
        &format!("{}: it was unreachable before the build", scene.name(1)),
        &format!("{}: release 3 is live", scene.name(0)),
    ]);
    assert_eq!(said.matches("-----> Go app detected").count(), 1, "{said}");
    scene.lan.restore(2);
    scene.deploy_to("patience: 60");
    scene.push(repo).succeeds();
}
