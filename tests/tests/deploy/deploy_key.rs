//! A private git repository as a dependency: the key that the operator stores reaches the build of that app
//! and nothing else.

use std::process::Command;

use piku_tests::world::World;

#[test]
fn private_repository_is_fetched_with_the_deploy_key() {
    let world = World::new();
    // The private repository is another one of this server, which asks for a key.
    world.repo("lib").serves("from the library\n").commit("One").push().succeeds();
    world.add_key("reader", &["lib"]);
    let url = world.url("lib");
    let repo = world.repo("blog");
    repo.serves("page\n")
        .file("Procfile", "web: ./start\npreflight: ./fetch\n")
        .program("fetch", format!("#!/bin/sh\nset -e\necho \"variable: $DEPLOY_KEY.\"\ngit clone -q {url} lib\ncp lib/page page\n"))
        .program("start", "#!/bin/sh\necho \"key: $DEPLOY_KEY. $(find /app /build /data /tmp /layers -name deploy_key 2>/dev/null)\" >&2\nexec ./serve\n")
        .commit("One");
    repo.push().fails_with(&["Host key verification failed"]);

    let key =
        Command::new("base64").arg("-w0").arg(world.path("laptop/reader_key")).output().expect("base64");
    let key = String::from_utf8(key.stdout).expect("base64 is text");
    let set = world.ssh("laptop", &format!("config:set blog DEPLOY_KEY={key}"));
    assert!(set.status.success(), "{set:?}");
    let said = repo.push().succeeds();
    assert!(said.contains("variable: ."), "{said}");
    assert_eq!(world.page("blog"), "from the library\n");
    let logs = world.ssh("laptop", "logs blog");
    assert!(String::from_utf8_lossy(&logs.stdout).contains("key: . \n"), "{logs:?}");

    assert!(world.ssh("laptop", "config:set blog DEPLOY_KEY=secret").status.success());
    let said = repo.file("page", "x").commit("Two").push().fails_with(&["DEPLOY_KEY is not a private key"]);
    assert!(!said.contains("secret"), "{said}");
}
