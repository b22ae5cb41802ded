//! The status page: served with a password only, under names that no app can have.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use piku_tests::nginx::{Ports, start_server_with};
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::run_verb;

fn change_password(world: &World, words: &[&str]) -> Output {
    let mut command = world.tool("piku-run");
    command.arg("status-password").args(words).stdin(Stdio::null()).output().expect("piku-run")
}

/// Returns the response to a reader, over the tunnel.
fn read_as(ports: Ports, reader: &str, path: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-i", "--path-as-is", "-u", reader, "-H", "Host: status.localhost"]);
    let out = curl.arg(format!("http://127.0.0.1:{}{path}", ports.http)).output().expect("curl");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn the_status_page_is_served_with_a_password_only() {
    let (mut world, ports) = start_server_with("domain: apps.test\n", "");
    let repo = world.repo("blog");
    repo.serves("blog\n").commit("One").push().succeeds();
    run_verb(&world, "config:set blog NGINX_SERVER_NAME=blog.test,status.apps.test");
    assert_eq!(ports.get("status.apps.test", "/").body, "blog\n", "a name as any other");

    // The page gets its name, also from an app that had it.
    world.set_settings(&format!("status: true\ndomain: apps.test\n{}", ports.settings("")));
    let missing = change_password(&world, &["--remove"]);
    assert!(text(&missing).contains("'admin' has no password"), "{}", text(&missing));
    world.end_nginx(nix::sys::signal::Signal::SIGTERM);
    world.start_nginx();
    world.end_daemon(nix::sys::signal::Signal::SIGTERM);
    world.start_daemon();
    wait_for("the page", || world.root().join("status/metrics").exists());
    let closed = ports.get("status.localhost", "/");
    assert!(closed.status == 503 && closed.body.contains("has no password yet"), "{closed:?}");
    let closed = ports.get_securely("status.apps.test", "/metrics", None);
    assert!(closed.status == 503 && closed.body.contains("sudo piku status:password"), "{closed:?}");

    let out = change_password(&world, &["ops"]);
    assert!(out.status.success(), "{}", text(&out));
    let url = format!("ops can read https://status.apps.test:{}/", ports.https);
    assert!(String::from_utf8_lossy(&out.stderr).contains(&url), "{}", text(&out));
    let password = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    assert_eq!(password.len(), 32, "{password}");
    wait_for("nginx asks for it", || ports.get("status.localhost", "/").status == 401);
    let path = world.root().join("status/passwd");
    let stored = fs::read_to_string(&path).expect("the hash");
    assert!(stored.starts_with("ops:$6$") && !stored.contains(&password), "{stored}");
    assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);

    let ops = format!("ops:{password}");
    let page = read_as(ports, &ops, "/");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<h3 id=\"title-blog\">"), "{page}");
    for header in ["Cache-Control: no-store", "Content-Type: text/html", "frame-ancestors 'none'"] {
        assert!(page.contains(header), "{header}: {page}");
    }
    assert!(!page.contains("\r\nRefresh:") && page.contains("href=\"live\""), "{page}");
    let live = read_as(ports, &ops, "/live");
    assert!(live.contains("\r\nRefresh: 60\r\n") && live.contains("frame-ancestors 'none'"), "{live}");
    let metrics = read_as(ports, &ops, "/metrics");
    assert!(metrics.contains("Content-Type: application/openmetrics-text") && metrics.ends_with("# EOF\n"));
    for reader in ["ops:wrong", "admin:", "ops:"] {
        assert!(read_as(ports, reader, "/metrics").starts_with("HTTP/1.1 401"), "{reader}");
    }
    for path in ["/passwd", "/index.html", "/../host.yaml", "/.", "/live/", "/metrics/../passwd"] {
        let answer = read_as(ports, &ops, path);
        assert!(!answer.contains("$6$") && !answer.contains("domain:"), "{path}: {answer}");
        assert!(path == "/." || !answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    // The password is not sent in the clear, and the certificate is that of the page.
    let moved = ports.get("status.apps.test", "/metrics");
    let target = format!("Location: https://status.apps.test:{}/metrics", ports.https);
    assert!(moved.status == 301 && moved.head.contains(&target), "{}", moved.head);
    let own = world.root().join("acme/status-page/current/certificate.pem");
    assert_eq!(ports.get_securely("status.apps.test", "/", Some(&own)).status, 401);
    assert_eq!(ports.get("status.apps.test", "/.well-known/acme-challenge/x").status, 404);

    // The app that had the name goes on under its other one, and is told.
    let out = world.ssh("laptop", "restart blog");
    assert!(out.status.success(), "{}", text(&out));
    repo.file("page", "two\n").commit("Two");
    let said = repo.push().succeeds();
    assert!(said.contains("'status.apps.test' leads to the status page of this host"), "{said}");
    assert_eq!(ports.get("blog.test", "/").body, "two\n");
    assert_eq!(ports.get_securely("status.apps.test", "/", Some(&own)).status, 401);
    // No app gets it otherwise, by its own name or all names below the domain.
    let status = world.repo("status");
    status.serves("mine\n").commit("One").push().succeeds();
    run_verb(&world, "config:set blog NGINX_SERVER_NAME=blog.test");
    for name in ["status.apps.test", "status.localhost"] {
        let taken = world.ssh("laptop", &format!("config:set status NGINX_SERVER_NAME={name}"));
        let why = "is the name of the status page of this host";
        assert!(!taken.status.success() && text(&taken).contains(why), "{}", text(&taken));
    }
    run_verb(&world, "config:set status 'NGINX_SERVER_NAME=*.apps.test,*.localhost'");
    assert_eq!(ports.get("x.apps.test", "/").body, "mine\n");
    assert_eq!(ports.get_securely("status.apps.test", "/", Some(&own)).status, 401);
    assert_eq!(ports.get("status.localhost", "/").status, 401);

    for (words, why) in [
        (&["a b"][..], "is not a user's name"),
        (&["a:b"], "is not a user's name"),
        (&["ops", "--stdin"], "12 to 200 characters"),
    ] {
        let out = change_password(&world, words);
        assert!(!out.status.success() && text(&out).contains(why), "{}", text(&out));
    }
    // Guesses are slowed down, also right ones, and requests without a password are not.
    let guesses = (0..60).map(|_| read_as(ports, "ops:wrong", "/"));
    let refused = guesses.filter(|answer| answer.starts_with("HTTP/1.1 429")).count();
    assert!((1..60).contains(&refused), "{refused} of 60");
    assert_eq!(ports.get("status.localhost", "/").status, 401);
    let certs = world.ssh("laptop", "certs");
    let listed = String::from_utf8_lossy(&certs.stdout).into_owned();
    assert!(listed.contains("status page  self-signed") && listed.contains("status.apps.test"), "{listed}");
    let remote = world.ssh("laptop", "status:password");
    assert!(text(&remote).contains("status:password does not work over ssh"), "{}", text(&remote));
    assert!(change_password(&world, &["ops", "--remove"]).status.success());
    assert!(!path.exists());
    wait_for("the page is closed", || ports.get("status.localhost", "/").status == 503);
}

#[test]
fn the_status_page_has_a_name_and_a_certificate_of_its_own() {
    let (world, ports) = start_server_with("status: {domain: blog.example.org}\n", "");
    let home = |name: &str| world.path("home").join(name);
    fs::create_dir(home(".acme.sh")).expect("a folder");
    fs::write(home(".acme.sh/acme.sh"), crate::settings::ACME).expect("a script");
    fs::set_permissions(home(".acme.sh/acme.sh"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::write(home("port"), ports.http.to_string()).expect("a port");
    let certificate = world.root().join("acme/status-page/current/certificate.pem");
    let get = || ports.get_securely("blog.example.org", "/", Some(&certificate)).status;
    assert_eq!(get(), 503, "self-signed");
    let before = fs::read(&certificate).expect("a certificate");
    let mut child = world.tool("piku-run");
    let child =
        child.args(["status-password", "ops", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.stderr(Stdio::null()).spawn().expect("piku-run");
    child.stdin.take().expect("a pipe").write_all(b"a good password\n").expect("it reads");
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success() && out.stdout.is_empty(), "{}", text(&out));
    wait_for("nginx asks for it", || get() == 401);
    // Without a reload: nginx reads it at the next handshake.
    let out = world.tool("piku-run").args(["certs", "renew"]).output().expect("piku-run");
    let said = text(&out);
    assert!(out.status.success() && said.contains("certificate for status page: blog.example.org"), "{said}");
    assert_ne!(fs::read(&certificate).expect("a certificate"), before);
    assert_eq!(get(), 401);
    wait_for("the metrics", || read_as(ports, "ops:a good password", "/metrics").ends_with("# EOF\n"));
}
