//! A runtime of the operator's own, as docs/adding-a-runtime.md adds it, and files without anything that runs: pushed over ssh.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use piku_tests::snapshot::str;
use piku_tests::tools;
use piku_tests::world::World;

#[test]
fn documented_host_buildpack_works() {
    let world = World::new();
    let pack = world.root().join("buildpacks/page");
    for (name, text) in documented_buildpack() {
        let path = pack.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(&path, text).expect("a file of the pack");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    // The server's account looks at them.
    for path in ["buildpacks", "buildpacks/page", "buildpacks/page/bin"] {
        fs::set_permissions(world.root().join(path), fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let repo = world.repo("site");
    repo.file("page.txt", "from a runtime of one's own\n").commit("One");
    repo.push().succeeds_as(str![[r#"
-----> Buildpack app detected: the host's buildpack 'page' says: Page
       Sandbox: [PROTECTIONS]
       Page
-----> Process types: web (by default, from bin/release)
-----> Starting web.1 on port [PORT]
       web.1 is healthy after [DURATION]
-----> site is live, release 1: http://127.0.0.1:[PORT]
 * [new branch]      main -> main
"#]]);
    assert_eq!(world.page("site"), "from a runtime of one's own\n");
    // What .profile.d says holds for one-off commands as well.
    let out =
        world.tool("piku-run").args(["exec", "site", "--", "sh", "-c", "echo $PAGE"]).output().expect("exec");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "page.txt\n", "{out:?}");
}

/// The files of the example in docs/adding-a-runtime.md: a fenced block after a line with each one's name.
fn documented_buildpack() -> Vec<(&'static str, String)> {
    let page = tools::repository().join("docs/adding-a-runtime.md");
    let text = fs::read_to_string(page).expect("docs/adding-a-runtime.md");
    let block = |name: &str| {
        let (_, rest) = text.split_once(&format!("`page/{name}`:\n\n```sh\n")).expect(name);
        rest.split_once("```").expect("the block's end").0.to_owned()
    };
    ["bin/detect", "bin/compile", "bin/release"].map(|name| (name, block(name))).into()
}

#[test]
fn static_release_needs_no_process() {
    let world = World::new();
    let repo = world.repo("pages");
    repo.file("index.html", "one\n").file("ENV", "A=1\n").commit("One");
    repo.push().succeeds_as(str![[r#"
-----> Static app detected: there is index.html
       Sandbox: [PROTECTIONS]
-----> Process types: static (by default, from index.html)
       its files are served when NGINX_SERVER_NAME is set
-----> pages is live, release 1
 * [new branch]      main -> main
"#]]);
    assert!(world.ps("pages").is_empty(), "{:#?}", world.ps("pages"));
    let served = |name: &str| world.app("pages").join("current/app/site").join(name);
    assert_eq!(fs::read_to_string(served("index.html")).expect("the page"), "one\n");
    assert!(!served("ENV").exists());
    repo.file("index.html", "two\n").commit("Two").push().succeeds();
    assert_eq!(fs::read_to_string(served("index.html")).expect("the page"), "two\n");
}
