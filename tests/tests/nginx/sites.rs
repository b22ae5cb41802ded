//! Apps under their host names: a push over ssh, a real nginx of piku's own, a browser's side of it.

use piku_tests::nginx::start_server;

#[test]
fn app_is_served_under_its_names_only() {
    let (world, ports) = start_server("");
    let repo = world.repo("blog");
    repo.serves("one\n").file("ENV", "NGINX_SERVER_NAME=blog.test, www.blog.test\n").commit("One");
    let said = repo.push().succeeds();
    assert!(said.contains(&format!("release 1: https://blog.test:{}", ports.https)), "{said}");
    assert_eq!(ports.get("www.blog.test", "/").body, "one\n");
    assert_eq!(ports.get("blog.test", "/.git/config").status, 404);
    assert_eq!(ports.get("other.test", "/").status, 404);
    assert_eq!(ports.get_securely("blog.test", "/", None).body, "one\n");

    repo.file("page", "two\n").commit("Two").push().succeeds();
    assert_eq!(ports.get("blog.test", "/").body, "two\n", "the new one, at once");
}
