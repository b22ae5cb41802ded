//! Apps under their host names: a push over ssh, a real nginx of piku's own, a browser's side of it.

use std::fs;

use piku_tests::nginx::start_server;
use piku_tests::processes;
use piku_tests::trace::CallTrace;

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

#[test]
fn push_that_changes_no_setting_tests_none() {
    let (world, ports) = start_server("");
    let repo = world.repo("blog");
    // Directives of the app are tested before the build, too.
    repo.file("own.inc", "client_max_body_size 2m;\n");
    let env = "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.inc\n";
    repo.serves("one\n").file("ENV", env).commit("One").push().succeeds();
    let supervisors = processes::find(&world.root(), "supervise blog");
    assert_eq!(supervisors.len(), 1);
    let pids = [world.sshd_pid(), supervisors[0]];
    let is_nginx = |call: &String| call.contains("nginx\"");
    let Some(trace) = CallTrace::begin(&pids, "execve", &world.path("strace")) else { return };
    repo.file("page", "two\n").commit("Two").push().succeeds();
    let programs = trace.end();
    assert!(programs.iter().any(|call| call.contains("git-core/git")), "{programs:#?}");
    let nginx: Vec<_> = programs.iter().filter(|call| is_nginx(call)).collect();
    assert!(nginx.is_empty(), "{nginx:#?}");
    assert_eq!(ports.get("blog.test", "/").body, "two\n");

    // The same processes start nginx for a setting that changes.
    let Some(trace) = CallTrace::begin(&pids, "execve", &world.path("strace")) else { return };
    repo.file("ENV", "NGINX_SERVER_NAME=blog.test www.blog.test\n").commit("Three").push().succeeds();
    let programs = trace.end();
    assert!(programs.iter().any(is_nginx), "{programs:#?}");
    assert_eq!(ports.get("www.blog.test", "/").body, "two\n");
}

#[test]
fn file_that_spoils_the_others_fails_the_push_that_meets_it() {
    let (world, ports) = start_server("");
    let repo = world.repo("blog");
    repo.serves("one\n").file("ENV", "NGINX_SERVER_NAME=blog.test\n").commit("One").push().succeeds();
    // As an operator's own change may leave it. nginx has not read it yet.
    let spoilt = world.root().join("nginx/apps/shop.conf");
    fs::write(&spoilt, "gzip maybe;\n").expect("another app's file");
    repo.file("page", "two\n").file("ENV", "NGINX_SERVER_NAME=blog.test www.blog.test\n").commit("Two");
    let what = "nginx rejects the app's settings together with those of the other apps";
    repo.push().fails_with(&[what, "apps/shop.conf:1"]);
    assert_eq!(ports.get("blog.test", "/").body, "one\n");

    fs::remove_file(spoilt).expect("that file");
    repo.push().succeeds();
    assert_eq!(ports.get("www.blog.test", "/").body, "two\n");
}
