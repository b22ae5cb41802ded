//! Apps under their host names: what goes wrong, what verbs change, sites of files, certificates of an authority.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;
use piku_tests::nginx::start_server;
use piku_tests::ports::free_port;
use piku_tests::snapshot::text;
use piku_tests::world::World;

use crate::run_verb;

#[test]
fn bad_nginx_setting_fails_deploy() {
    let (world, ports) = start_server("");
    let repo = world.repo("blog");
    repo.serves("good\n").file("ENV", "NGINX_SERVER_NAME=blog.test\n").commit("Good").push().succeeds();
    let file = || fs::read_to_string(world.root().join("nginx/apps/blog.conf")).expect("its file");
    let before = file();

    repo.file("ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_CACHE_SIZE=x\n").commit("Bad number");
    repo.push().fails_with(&["ENV:2: NGINX_CACHE_SIZE", "nothing was changed"]);
    repo.file("ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.conf\n");
    repo.file("own.conf", "root /etc;\n").commit("Bad include").push().fails_with(&["own.conf:1: 'root'"]);
    // Only nginx itself finds this error.
    repo.file("own.conf", "location ~ '(' { return 200; }\n").commit("Bad expression");
    repo.push().fails_with(&["nginx rejects the app's settings", "own.conf:1: "]);
    repo.without("own.conf").file("Procfile", "worker: sleep 1000\n");
    repo.file("ENV", "NGINX_SERVER_NAME=blog.test\n").commit("Nothing to serve");
    repo.push().fails_with(&["neither a web process nor static files"]);
    let other = world.repo("shop");
    other.serves("shop\n").file("ENV", "NGINX_SERVER_NAME=shop.test blog.test\n").commit("Taken");
    other.push().fails_with(&["the app 'blog' has the name 'blog.test' already"]);

    assert_eq!(file(), before);
    assert_eq!(ports.get("blog.test", "/").body, "good\n");
    let check = || {
        let out = world.tool("piku-run").args(["nginx", "--check"]).output().expect("piku-run");
        (out.status.success(), text(&out))
    };
    assert_eq!(check(), (true, String::new()));
    let path = world.root().join("nginx/apps/blog.conf");
    fs::write(&path, before.replacen("server {", "server { listen", 1)).expect("a bad file");
    let (good, said) = check();
    assert!(!good && said.contains("nginx rejects its configuration: "), "{said}");
    assert!(said.contains("apps/blog.conf:") && said.contains("hint: push or restart"), "{said}");
    fs::write(&path, &before).expect("the file");
    other.file("ENV", "NGINX_SERVER_NAME=shop.test\n").commit("Free").push().succeeds();
    assert_eq!(ports.get("shop.test", "/").body, "shop\n");

    // What the operator sets is told as such, and is not stored.
    let out = world.ssh("laptop", "config:set blog NGINX_HTTPS_ONLY=perhaps");
    assert!(!out.status.success() && text(&out).contains("NGINX_HTTPS_ONLY"), "{}", text(&out));
    assert_eq!(ports.get("blog.test", "/").body, "good\n");
}

#[test]
fn each_setting_is_checked_before_the_build() {
    let (world, ports) = start_server("");
    let pinned = free_port();
    let shop = world.repo("shop");
    shop.serves("shop\n").file("ENV", format!("NGINX_SERVER_NAME=shop.test\nPORT={pinned}\n")).commit("One");
    shop.push().succeeds();
    let repo = world.repo("blog");
    repo.serves("good\n").file("bad.conf", "location ~ '(' { return 200; }\n").link("storage", "page");
    for (setting, what) in [
        ("NGINX_HTTPS_ONLY=perhaps", "NGINX_HTTPS_ONLY"),
        ("NGINX_REDIRECTS=shop.test:blog.test", "the app 'shop' has the name 'shop.test' already"),
        ("NGINX_INCLUDE_FILE=bad.conf", "bad.conf:1: "),
        ("WRITABLE_PATHS=../data", "WRITABLE_PATHS: '../data' contains '..'"),
        ("WRITABLE_PATHS=page,storage", "WRITABLE_PATHS: storage: 'storage' is a symlink"),
        ("WRITABLE_PATHS=page/x.db", "'page' is a file"),
        ("APP_READONLY=maybe", "APP_READONLY: 'maybe'"),
        ("PORT=80", "below 1024"),
        (&format!("PORT={pinned}"), "is taken by web.1 of shop"),
        (&format!("PORT={}", ports.http), "is a port of piku's nginx"),
        (&format!("LISTEN_PORTS={}", ports.https), "is a port of piku's nginx"),
        ("LISTEN_PORTS=http", "LISTEN_PORTS"),
        ("HEALTHCHECK=maybe", "HEALTHCHECK: 'maybe'"),
        ("HEALTHCHECK_HOST=*.test", "HEALTHCHECK_HOST: '*.test'"),
        ("NETWORK=host", "NETWORK: 'host'"),
        ("TMP_SIZE=lots", "TMP_SIZE"),
    ] {
        let env = format!("NGINX_SERVER_NAME=blog.test\n{setting}\n");
        let said =
            repo.file("ENV", env).commit(setting).push().fails_with(&[what, "failed at: check (exit 1)"]);
        assert!(!said.contains("----->"), "{setting}:\n{said}");
    }
    // Without a Procfile, too, when only the build knows the processes.
    repo.without("Procfile").file("app.py", "").file("requirements.txt", "");
    repo.file("ENV", "WRITABLE_PATHS=../data\n").commit("No Procfile");
    repo.push().fails_with(&["'../data' contains '..'", "failed at: check (exit 1)"]);
    repo.serves("good\n").file("ENV", "WRITABLE_PATHS=page,uploads\n").commit("Good").push().succeeds();
    // The app's own port, also while it is down.
    shop.file("page", "more\n").commit("Two").push().succeeds();
    assert!(world.ssh("laptop", "stop shop").status.success());
    shop.file("page", "again\n").commit("Three").push().succeeds();
    assert_eq!(ports.get("shop.test", "/").body, "again\n");
}

#[test]
fn verbs_update_nginx() {
    let (mut world, ports) = start_server("");
    let repo = world.repo("blog");
    repo.serves("one\n").file("ENV", "NGINX_SERVER_NAME=blog.test\n").commit("One").push().succeeds();

    run_verb(&world, "maintenance:on blog");
    let down = ports.get("blog.test", "/");
    assert_eq!(down.status, 503);
    assert!(down.head.contains("Retry-After") && down.body.contains("maintenance"), "{down:?}");
    repo.file("page", "two\n").commit("Two").push().succeeds();
    assert_eq!(ports.get("blog.test", "/").status, 503, "a deploy does not end it");
    run_verb(&world, "maintenance:off blog");
    assert_eq!(ports.get("blog.test", "/").body, "two\n");

    run_verb(&world, "config:set blog NGINX_HTTPS_ONLY=true 'NGINX_BASIC_AUTH=ann:secret'");
    let moved = ports.get("blog.test", "/a?b");
    assert_eq!(moved.status, 301);
    assert!(moved.head.contains(&format!("https://blog.test:{}/a?b", ports.https)), "{moved:?}");
    assert_eq!(ports.get_securely("blog.test", "/", None).status, 401);
    run_verb(&world, "config:unset blog NGINX_HTTPS_ONLY NGINX_BASIC_AUTH");
    run_verb(&world, "ps:scale blog web=2");
    let file = fs::read_to_string(world.root().join("nginx/apps/blog.conf")).expect("its file");
    assert_eq!(file.matches("max_fails=0").count(), 4, "two instances, two ways: {file}");
    run_verb(&world, "ps:scale blog web=0");
    assert_eq!(ports.get("blog.test", "/").status, 503);
    run_verb(&world, "ps:scale blog web=1");
    assert_eq!(ports.get("blog.test", "/").body, "two\n");

    // Whoever is in charge of nginx is killed: it serves on, and the next one takes it up.
    world.end_nginx(Signal::SIGKILL);
    assert_eq!(ports.get("blog.test", "/").body, "two\n");
    world.start_nginx();
    repo.file("page", "three\n").commit("Three").push().succeeds();
    assert_eq!(ports.get("blog.test", "/").body, "three\n");
    // Without it a deploy says so.
    world.end_nginx(Signal::SIGTERM);
    let said = repo.file("page", "four\n").commit("Four").push().succeeds();
    assert!(said.contains("piku's nginx does not run") && said.contains("http://127.0.0.1:"), "{said}");
    world.start_nginx();
    assert_eq!(ports.get("blog.test", "/").body, "four\n");

    run_verb(&world, "stop blog");
    assert_eq!(ports.get("blog.test", "/").status, 503);
    run_verb(&world, "restart blog");
    assert_eq!(ports.get("blog.test", "/").body, "four\n");
    run_verb(&world, "destroy blog --confirm blog");
    assert_eq!(ports.get("blog.test", "/").status, 404);
    let left = [world.root().join("nginx/apps/blog.conf"), world.root().join("acme/certificates/blog")];
    assert!(left.iter().all(|path| !path.exists()), "{left:?}");
}

#[test]
fn static_site_is_served() {
    let (world, ports) = start_server("");
    let repo = world.repo("site");
    repo.file("Procfile", "static: public\n").file("public/index.html", "<p>home\n");
    repo.file("public/.secret", "no\n");
    repo.file("public/_headers", "/*\n  X-Frame-Options: DENY\n/:id\n  X-Left: out\n");
    repo.file("ENV", "NGINX_SERVER_NAME=site.test\nNGINX_CATCH_ALL=index.html\n").commit("Site");
    let said = repo.push().succeeds();
    assert!(
        said.contains("public/_headers:3: warning: the line is ignored: '/:id': only a '*' at the end"),
        "{said}"
    );
    assert!(ports.get("site.test", "/").head.contains("X-Frame-Options: DENY"), "{said}");
    assert!(said.contains(&format!("https://site.test:{}", ports.https)), "{said}");
    assert_eq!(ports.get("site.test", "/").body, "<p>home\n");
    assert_eq!(ports.get("site.test", "/some/page").body, "<p>home\n");
    let hidden = ports.get("site.test", "/.secret");
    assert!(hidden.status == 404 && hidden.body.contains("<h1>Page not found</h1>"), "{hidden:?}");
    assert!(hidden.head.contains("X-Frame-Options: DENY"), "{hidden:?}");
    repo.file("public/index.html", "<p>new\n").commit("New").push().succeeds();
    assert_eq!(ports.get("site.test", "/").body, "<p>new\n");
    // The operator's page for missing files, and the site's own.
    let pages = world.root().join("pages");
    assert!(world.command("mkdir").arg(&pages).status().expect("mkdir").success());
    std::fs::write(pages.join("not-found.html"), "<p>nothing here\n").expect("a page");
    repo.file("public/index.html", "<p>newer\n").commit("Newer").push().succeeds();
    let missing = ports.get("site.test", "/.none");
    assert_eq!((missing.status, missing.body.as_str()), (404, "<p>nothing here\n"));
    repo.file("public/404.html", "<p>its own\n").commit("Own").push().succeeds();
    let missing = ports.get("site.test", "/.none");
    assert_eq!((missing.status, missing.body.as_str()), (404, "<p>its own\n"));
    assert!(world.ps("site").is_empty(), "nothing runs for it");
    for (verb, expected) in [
        ("ps site", "no process of site runs: its release has only files, or all types are scaled to 0"),
        ("logs site", "'site' has no logs: its live release has started no process"),
    ] {
        let told = world.ssh("laptop", verb);
        let told = String::from_utf8_lossy(&told.stderr);
        assert!(told.contains(expected), "{verb}: {told}");
    }
}

/// An acme.sh that knows an authority of its own: it looks for its answer through nginx as that would, and counts.
pub(crate) const ACME: &str = r#"#!/bin/sh
set -eu
echo "$*" >>"$HOME/asked"
case $1 in
--issue)
    while [ "$1" != --webroot ]; do shift; done
    echo proof >"$2/.well-known/acme-challenge/token"
    [ "$(curl -s -H 'Host: blog.example.org' "http://127.0.0.1:$(cat "$HOME/port")/.well-known/acme-challenge/token")" = proof ]
    [ ! -e "$HOME/refuse" ] || { echo '[Mon Nov 30 12:00:00 UTC 2026] no A record found' >&2; echo "Please add '--debug'"; exit 1; } ;;
--install-cert)
    while [ "$#" -gt 0 ]; do
        case $1 in
        --fullchain-file) certificate=$2 ;;
        --key-file) key=$2 ;;
        esac
        shift
    done
    [ ! -e "$HOME/empty" ] || { : >"$certificate"; : >"$key"; exit 0; }
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=vouched \
        -addext subjectAltName=DNS:blog.example.org -keyout "$key" -out "$certificate" 2>/dev/null ;;
esac
"#;

#[test]
fn only_valid_certificate_is_installed() {
    let (world, ports) = start_server("");
    let home = |name: &str| world.path("home").join(name);
    fs::create_dir(home(".acme.sh")).expect("a folder");
    fs::write(home(".acme.sh/acme.sh"), ACME).expect("a script");
    fs::set_permissions(home(".acme.sh/acme.sh"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::write(home("port"), ports.http.to_string()).expect("a port");
    let repo = world.repo("blog");
    repo.serves("page\n").file("ENV", "NGINX_SERVER_NAME=blog.example.org pi.local\nNGINX_HTTPS_ONLY=1\n");
    repo.commit("One").push().succeeds();
    assert!(!home("asked").exists(), "no deploy asks anybody");

    let renew = |more: &[&str]| {
        let out = world.tool("piku-run").args(["certs", "renew"]).args(more).output().expect("piku-run");
        (out.status.success(), text(&out))
    };
    let asked = || fs::read_to_string(home("asked")).unwrap_or_default().lines().count();
    let in_use = || fs::read_link(world.root().join("acme/certificates/blog/current")).expect("a link");
    let before = in_use();
    fs::write(home("refuse"), "").expect("a file");
    assert!(!renew(&[]).0);
    assert_eq!(asked(), 1);
    let (good, said) = renew(&[]);
    assert!(good && said.contains(" failed; the next one is after "), "{said}");
    assert!(text(&world.ssh("laptop", "certs blog")).contains("no A record found"));
    let problem = "blog: no authority has issued its certificate; piku certs blog shows what failed";
    let status = text(&world.ssh("laptop", "status"));
    assert!(status.contains(problem), "{status}");
    let host = world.root().join("host.yaml");
    let before_notify = fs::read_to_string(&host).expect("host.yaml");
    let command = format!("notify: {{command: \"cat >>'{}'\"}}\n", home("told").display());
    fs::write(&host, format!("{before_notify}\n{command}")).expect("host.yaml");
    let out = world.tool("piku-run").arg("notify").output().expect("piku-run");
    let told = fs::read_to_string(home("told")).unwrap_or_default();
    assert!(told.contains(problem) && told.contains("\"certificate\""), "{told} {}", text(&out));
    fs::write(&host, before_notify).expect("host.yaml");
    let (good, said) = renew(&["blog"]);
    assert!(!good && said.contains("hint: to try now: piku certs:renew blog --force"), "{said}");
    assert_eq!(asked(), 1, "not asked again at once");
    let mut doctor = world.command(world.path("lib/doctor"));
    let doctor = text(&doctor.env("PIKU_ROOT", world.root()).output().expect("doctor"));
    assert!(doctor.contains("warn  certificates: the last attempt failed: blog: at "), "{doctor}");
    fs::remove_file(home("refuse")).expect("a file");
    fs::write(home("empty"), "").expect("a file");
    let (good, said) = renew(&["--force"]);
    assert!(!good && said.contains("is empty"), "{said}");
    assert_eq!(in_use(), before, "an empty one is never put in");
    fs::remove_file(home("empty")).expect("a file");

    let (good, said) = renew(&["blog", "--force"]);
    assert!(good, "{said}");
    let certificate = world.root().join("acme/certificates/blog/current/certificate.pem");
    assert_eq!(ports.get_securely("blog.example.org", "/", Some(&certificate)).body, "page\n");
    let count = asked();
    assert!(renew(&[]).0 && asked() == count, "it is good for months");
    repo.file("page", "two\n").commit("Two").push().succeeds();
    assert_eq!(ports.get_securely("blog.example.org", "/", Some(&certificate)).body, "two\n");

    // A request that failed for other names says nothing about these.
    let state = || text(&world.ssh("laptop", "certs blog"));
    fs::write(home("refuse"), "").expect("a file");
    repo.file("ENV", "NGINX_SERVER_NAME=blog.example.org www.example.org\n")
        .commit("Three")
        .push()
        .succeeds();
    assert!(!renew(&[]).0 && state().contains("failed"), "{}", state());
    assert!(text(&world.ssh("laptop", "ps blog")).contains("certificate failed"));
    let attempt = world.root().join("acme/certificates/blog/attempt.json");
    assert!(attempt.exists());
    repo.file("ENV", "NGINX_SERVER_NAME=blog.example.org\n").commit("Four").push().succeeds();
    assert!(!state().contains("failed"), "{}", state());
    assert!(!text(&world.ssh("laptop", "ps blog")).contains("certificate failed"));
    assert!(renew(&[]).0 && !attempt.exists(), "a current certificate needs no other attempt");
    repo.file("ENV", "NGINX_SERVER_NAME=pi.local\n").commit("Five").push().succeeds();
    let (good, said) = renew(&["blog"]);
    assert!(!good && said.contains("no authority issues a certificate for pi.local"), "{said}");
}

#[test]
fn operators_wildcard_certificate_is_used_and_renewed() {
    let ports = piku_tests::nginx::Ports::free();
    let mut world = World::with_settings(&ports.settings(""));
    let dir = world.path("wildcard");
    fs::create_dir(&dir).expect("a folder");
    let issue = || {
        let out = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "90",
            ])
            .args(["-subj", "/CN=wildcard", "-addext", "subjectAltName=DNS:*.wild.test"])
            .arg("-keyout")
            .arg(dir.join("privkey.pem"))
            .arg("-out")
            .arg(dir.join("fullchain.pem"))
            .output()
            .expect("openssl");
        assert!(out.status.success(), "{}", text(&out));
        // The user piku reads it.
        fs::set_permissions(dir.join("privkey.pem"), fs::Permissions::from_mode(0o644)).expect("a mode");
    };
    issue();
    world.set_settings(&ports.settings(&format!(", acme: off, certificates: ['{}']", dir.display())));
    world.start_nginx();
    let repo = world.repo("blog");
    repo.serves("page\n").file("ENV", "NGINX_SERVER_NAME=*.wild.test\n").commit("One").push().succeeds();
    let authority = dir.join("fullchain.pem");
    assert_eq!(ports.get_securely("any.wild.test", "/", Some(&authority)).body, "page\n");

    let renew = |more: &[&str]| {
        let out = world.tool("piku-run").args(["certs", "renew"]).args(more).output().expect("piku-run");
        (out.status.success(), text(&out))
    };
    // A key of another certificate changes nothing.
    let key = fs::read(dir.join("privkey.pem")).expect("the key");
    let before = fs::read(&authority).expect("the certificate");
    issue();
    let (renewed, renewed_key) = (fs::read(&authority), fs::read(dir.join("privkey.pem")));
    fs::write(dir.join("privkey.pem"), key).expect("the key before");
    let (good, said) = renew(&[]);
    assert!(!good && said.contains("is not the key of its certificate"), "{said}");
    fs::write(&authority, before).expect("the certificate before");
    assert_eq!(ports.get_securely("any.wild.test", "/", Some(&authority)).body, "page\n");
    fs::write(&authority, renewed.expect("the new certificate")).expect("a file");
    fs::write(dir.join("privkey.pem"), renewed_key.expect("its key")).expect("a file");
    let (good, said) = renew(&[]);
    assert!(good, "{said}");
    assert_eq!(ports.get_securely("any.wild.test", "/", Some(&authority)).body, "page\n");
    let (good, said) = renew(&["blog"]);
    assert!(good && said.contains("blog: the certificate of host.yaml is in use"), "{said}");
}
