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

    // Its own values beside piku's, and a setting with a misspelt name.
    repo.file(
        "own.inc",
        "client_max_body_size 200m;\nproxy_read_timeout 3600s;\nlocation / { add_header X-Own 1; }\n",
    );
    let env = "NGINX_SERVER_NAME=blog.test _\nNGINX_INCLUDE_FILE=own.inc\nNGINX_HTTP_ONLY=1\n";
    let said = repo.file("page", "two\n").file("ENV", env).commit("Two").push().succeeds();
    assert!(said.contains("NGINX_HTTP_ONLY: is not a setting of nginx that piku knows"), "{said}");
    assert!(said.contains("did you mean NGINX_HTTPS_ONLY?"), "{said}");
    let answer = ports.get("blog.test", "/");
    assert_eq!(answer.body, "two\n", "the new one, at once");
    assert!(answer.head.contains("X-Own: 1"), "{answer:?}");
    assert_eq!(ports.get("other.test", "/").body, "two\n", "all names that no app has");
    assert_eq!(ports.get_securely("other.test", "/", None).body, "two\n");
    assert_eq!(ports.get_securely("127.0.0.1", "/", None).body, "two\n", "TLS without a name");
}
