//! Apps without a name of their own: reached at once, by the address of the push or by the host's domain; what a
//! stopped one answers, and the pages that the operator and the app can replace.

use std::fs;

use nix::sys::signal::Signal;
use piku_tests::http;
use piku_tests::nginx::{start_server, start_server_with};
use piku_tests::snapshot::text;
use piku_tests::world::wait_for;

use crate::run_verb;

/// Returns the URLs in the last line of a push.
fn urls(said: &str) -> Vec<String> {
    let line = said.lines().find(|line| line.contains(" is live, release ")).expect(said);
    line.split(' ').filter(|word| word.starts_with("http")).map(|url| url.trim().to_owned()).collect()
}

#[test]
fn only_app_answers_at_address_of_push() {
    let (world, ports) = start_server("");
    let repo = world.repo("blog");
    let said = repo.serves("blog\n").commit("One").push().succeeds();
    assert_eq!(urls(&said), [format!("http://127.0.0.1:{}", ports.http)], "{said}");
    assert_eq!(http::get(ports.http, "/").expect("nginx answers").1, "blog\n");
    assert_eq!(ports.get("my-server", "/").body, "blog\n");

    // Another app leaves its URL alone, and its own is one that works.
    let other = world.repo("shop");
    let said = other.serves("shop\n").commit("One").push().succeeds();
    assert_eq!(urls(&said), [format!("http://127.0.0.1:{}", world.port("shop"))], "{said}");
    assert!(said.contains("domains:add shop NAME"), "{said}");
    assert_eq!(ports.get("my-server", "/").body, "blog\n");
    let taken = world.ssh("laptop", "config:set shop NGINX_SERVER_NAME=_");
    assert!(text(&taken).contains("the app 'blog' has the name '_' already"), "{}", text(&taken));
    // Nor can another app have it by a name of the machine.
    let machine = nix::unistd::gethostname().expect("a name").into_string().expect("text");
    for name in ["127.0.0.1", "10.0.0.7", "localhost", &machine] {
        let taken = world.ssh("laptop", &format!("config:set shop NGINX_SERVER_NAME={name}"));
        let why = format!("requests for '{}' go to the app 'blog'", name.to_lowercase());
        assert!(!taken.status.success() && text(&taken).contains(&why), "{name}: {}", text(&taken));
    }
    other.file("ENV", "NGINX_SERVER_NAME=localhost\n").commit("Taken");
    other.push().fails_with(&["requests for 'localhost' go to the app 'blog'", "domains:add blog NAME"]);
    assert_eq!(ports.get("localhost", "/").body, "blog\n");

    // A name of its own ends that; a site of files gets its place.
    let out = world.ssh("laptop", "config:set blog NGINX_SERVER_NAME=blog.test");
    assert!(out.status.success(), "{}", text(&out));
    assert_eq!(ports.get("blog.test", "/").body, "blog\n");
    assert_eq!(ports.get("my-server", "/").status, 404);
    assert!(ports.get("my-server", "/").body.contains("No app has this host name"));
    run_verb(&world, "config:set shop NGINX_SERVER_NAME=127.0.0.1");
    assert_eq!(ports.get("127.0.0.1", "/").body, "shop\n");
    // It keeps the name when another app gets all others.
    run_verb(&world, "config:set blog NGINX_SERVER_NAME=_");
    run_verb(&world, "restart shop");
    assert_eq!(
        (ports.get("127.0.0.1", "/").body, ports.get("x", "/").body),
        ("shop\n".into(), "blog\n".into())
    );
    for app in ["blog", "shop"] {
        assert!(world.ssh("laptop", &format!("destroy {app} --confirm {app}")).status.success());
    }
    let site = world.repo("site");
    site.file("Procfile", "static: public\n").file("public/index.html", "<p>home\n").commit("Site");
    let said = site.push().succeeds();
    assert_eq!(urls(&said), [format!("http://127.0.0.1:{}", ports.http)], "{said}");
    assert_eq!(ports.get("my-server", "/").body, "<p>home\n");
    run_verb(&world, "stop site");
    run_verb(&world, "maintenance:on site");
    assert_eq!(ports.get("my-server", "/").status, 503);
    // No instance has a row that could say so.
    let ps = text(&world.ssh("laptop", "ps site"));
    assert!(ps.contains("its site: stopped, maintenance\n"), "{ps}");
    run_verb(&world, "maintenance:off site");
    run_verb(&world, "restart site");
    assert!(!text(&world.ssh("laptop", "ps site")).contains("its site"));
    assert_eq!(ports.get("my-server", "/").body, "<p>home\n");

    // The comment of a setting that piku writes names a verb that there is.
    let out = world.tool("piku-run").args(["host-domain", "apps.test"]).output().expect("piku-run");
    assert!(out.status.success(), "{}", text(&out));
    let settings = fs::read_to_string(world.root().join("host.yaml")).expect("host.yaml");
    let verb = settings.split_once("(piku ").and_then(|(_, rest)| rest.split_once(')')).expect(&settings).0;
    let help = world.command(world.path("lib/piku")).args(["help", verb]).output().expect("piku");
    assert!(help.status.success(), "{verb}: {}", text(&help));
}

#[test]
fn default_app_stays_the_same_after_boot_and_without_nginx() {
    let (mut world, ports) = start_server("");
    for app in ["blog", "shop"] {
        world.repo(app).serves(&format!("{app}\n")).commit("One").push().succeeds();
    }
    // As after a boot.
    let about = world.root().join("nginx/about/blog.json");
    world.end_nginx(Signal::SIGTERM);
    let mut metadata: serde_json::Value =
        serde_json::from_slice(&fs::read(&about).expect("metadata")).expect("JSON");
    assert!(metadata["boot"].is_string(), "{metadata}");
    metadata["boot"] = "of-another-boot".into();
    fs::write(&about, metadata.to_string()).expect("metadata");
    world.start_nginx();
    wait_for("the default app", || ports.get("my-server", "/").body == "blog\n");

    // Its ports change while nginx does not run.
    world.end_nginx(Signal::SIGTERM);
    run_verb(&world, "restart blog");
    world.start_nginx();
    wait_for("the default app", || ports.get("my-server", "/").body == "blog\n");

    // A destroyed app claims nothing.
    run_verb(&world, "destroy blog --confirm blog");
    assert!(!about.exists());
    run_verb(&world, "restart shop");
    assert_eq!(ports.get("my-server", "/").body, "shop\n");
}

#[test]
fn apps_are_served_below_domain_of_host() {
    let (mut world, ports) = start_server_with("domain: apps.test\n", "");
    let repo = world.repo("blog");
    let said = repo.serves("blog\n").commit("One").push().succeeds();
    assert_eq!(
        urls(&said),
        ["http://127.0.0.1", "http://blog.apps.test"].map(|url| format!("{url}:{}", ports.http))
    );
    let other = world.repo("shop");
    let said = other.serves("shop\n").commit("One").push().succeeds();
    assert_eq!(urls(&said), [format!("http://shop.apps.test:{}", ports.http)]);
    assert_eq!(ports.get("blog.apps.test", "/").body, "blog\n");
    assert_eq!(ports.get("shop.apps.test", "/").body, "shop\n");

    // A name below the domain is not free for another app.
    let stolen = world.ssh("laptop", "config:set shop NGINX_SERVER_NAME=blog.apps.test");
    assert!(!stolen.status.success() && text(&stolen).contains("'blog'"), "{}", text(&stolen));
    let stolen = world.ssh("laptop", "config:set shop NGINX_SERVER_NAME=*.apps.test");
    assert!(!stolen.status.success() && text(&stolen).contains("'*.apps.test' go to"), "{}", text(&stolen));
    assert_eq!(ports.get("blog.apps.test", "/").body, "blog\n");

    // A new domain takes effect with the next start of nginx, without a push, also for a stopped app.
    let page = world.repo("page");
    page.serves("page\n").commit("One").push().succeeds();
    run_verb(&world, "stop page");
    world.set_settings(&format!("domain: new.test\n{}", ports.settings("")));
    world.end_nginx(Signal::SIGTERM);
    world.start_nginx();
    wait_for("the new name", || ports.get("shop.new.test", "/").body == "shop\n");
    wait_for("that of the stopped app", || ports.get("page.new.test", "/").status == 503);
    world.set_settings(&format!("domain: off\n{}", ports.settings("")));
    world.end_nginx(Signal::SIGTERM);
    world.start_nginx();
    wait_for("no name", || ports.get("shop.new.test", "/").status == 404);
    wait_for("none of the stopped app", || ports.get("page.new.test", "/").status == 404);
    let said = repo.file("page", "two\n").commit("Two").push().succeeds();
    assert_eq!(urls(&said), [format!("http://127.0.0.1:{}", world.port("blog"))], "{said}");
}

#[test]
fn pages_say_state_and_can_be_replaced() {
    let (world, ports) = start_server("");
    let repo = world.repo("blog");
    repo.serves("blog\n").file("ENV", "NGINX_SERVER_NAME=blog.test\n").commit("One").push().succeeds();
    let verb = |words: &str| run_verb(&world, words);
    let page = || ports.get("blog.test", "/any?thing");

    verb("stop blog");
    let stopped = page();
    assert!(stopped.status == 503 && stopped.body.contains("stopped"), "{stopped:?}");
    assert!(stopped.head.contains("text/html") && stopped.head.contains("Retry-After"), "{stopped:?}");
    let post = "POST / HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(ports.send(post).status, 503);
    verb("restart blog");
    assert_eq!(page().body, "blog\n");
    verb("ps:scale blog web=0");
    assert!(page().status == 503 && page().body.contains("does not answer"), "{:?}", page());
    verb("ps:scale blog web=1");

    // The operator's page, then the app's own: for maintenance and for an instance that does not answer.
    let pages = world.root().join("pages");
    fs::create_dir(&pages).expect("a folder");
    fs::write(pages.join("maintenance.html"), "<h1>Ours</h1>\n").expect("a page");
    verb("maintenance:on blog");
    for verb in ["apps", "ps blog"] {
        let out = text(&world.ssh("laptop", verb));
        assert!(out.contains("maintenance"), "{verb}: {out}");
    }
    assert_eq!((page().status, page().body.as_str()), (503, "<h1>Ours</h1>\n"));
    repo.file("public/maintenance.html", "<h1>Mine</h1>\n").file("public/502.html", "<h1>Gone</h1>\n");
    repo.file("ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_ERROR_PAGES=public\n")
        .commit("Two")
        .push()
        .succeeds();
    assert_eq!((page().status, page().body.as_str()), (503, "<h1>Mine</h1>\n"));
    assert_eq!(ports.send(post).status, 503);
    verb("config:set blog NGINX_ERROR_PAGES= MAINTENANCE_PAGE_URL=https://example.org/down?a=1&b=2");
    assert!(page().body.contains("src=\"https://example.org/down?a=1&amp;b=2\""), "{:?}", page());
    let bad = world.ssh("laptop", "config:set blog 'MAINTENANCE_PAGE_URL=javascript:x\"'");
    assert!(!bad.status.success() && text(&bad).contains("is not a URL"), "{}", text(&bad));
    verb("config:unset blog NGINX_ERROR_PAGES MAINTENANCE_PAGE_URL");
    verb("maintenance:off blog");
    assert_eq!(page().body, "blog\n");

    // nginx follows no links of the app.
    verb("ps:scale blog web=0");
    assert_eq!((page().status, page().body.as_str()), (503, "<h1>Gone</h1>\n"));
    repo.without("public/502.html").link("public/502.html", "../page").commit("Link").push().succeeds();
    assert!(page().status == 503 && page().body.contains("does not answer"), "{:?}", page());
    // In place of the page that is missing, others of the app.
    for name in ["500.html", "503.html"] {
        repo.file(&format!("public/{name}"), name).commit(name).push().succeeds();
        assert_eq!((page().status, page().body.as_str()), (503, name));
    }
}

#[test]
fn names_and_certificates_are_listed_and_checked() {
    let (world, ports) = start_server(", acme: off");
    let repo = world.repo("blog");
    let said =
        repo.serves("blog\n").file("ENV", "NGINX_SERVER_NAME=127.0.0.1\n").commit("One").push().succeeds();
    assert!(said.contains("its certificate is self-signed, so browsers warn"), "{said}");
    let json = |words: &str| -> serde_json::Value {
        let out = world.ssh("laptop", words);
        serde_json::from_slice(&out.stdout).unwrap_or_else(|err| panic!("{words}: {err}: {}", text(&out)))
    };
    let url = format!("https://127.0.0.1:{}", ports.https);
    let row = serde_json::json!({
        "app": "blog", "name": "127.0.0.1", "source": "ENV", "url": url, "certificate": "self-signed",
    });
    assert_eq!(json("domains blog --format json"), serde_json::json!([row]));
    let out = world.ssh("laptop", "certs:renew blog");
    assert_eq!(out.status.code(), Some(1), "none is requested: {}", text(&out));
    assert!(text(&out).contains("host.yaml says 'acme: off'"), "{}", text(&out));
    let certificate = &json("certs --format json")[0];
    assert_eq!((&certificate["app"], &certificate["issuer"]), (&"blog".into(), &"self-signed".into()));
    assert!(certificate["not_after"].is_string() && certificate["failures"] == 0, "{certificate}");
    assert_eq!(json("apps --format json")[0]["urls"], serde_json::json!([url]));
    let certs = text(&world.ssh("laptop", "certs blog"));
    assert!(certs.contains("browsers warn of a self-signed certificate"), "{certs}");

    let check = || world.ssh("laptop", "domains:check blog");
    assert!(
        check().status.success() && text(&check()).contains("leads here (127.0.0.1)"),
        "{}",
        text(&check())
    );
    let out = world.ssh("laptop", "domains:add blog nobody.invalid");
    assert!(out.status.success(), "{}", text(&out));
    assert_eq!(check().status.code(), Some(1));
    assert!(text(&check()).contains("nobody.invalid: "), "{}", text(&check()));
    assert_eq!(ports.get("nobody.invalid", "/").body, "blog\n");

    // Doctor proposes what gets certificates, if nothing that does is installed.
    let doctor = || {
        let mut doctor = world.command(world.path("lib/doctor"));
        let out = doctor.env("PIKU_ROOT", world.root()).output().expect("doctor runs");
        String::from_utf8(out.stdout).expect("text")
    };
    let find = "command -v certbot || command -v acme.sh";
    if world.command("sh").args(["-c", find]).output().expect("sh runs").status.success() {
        assert!(doctor().contains("ok    certificates: requested by certbot or acme.sh\n"), "{}", doctor());
        return;
    }
    assert!(doctor().contains("ok    certificates: off in host.yaml\n"), "{}", doctor());
    world.set_settings(&ports.settings(""));
    assert!(doctor().contains("ok    certificates: self-signed; "), "{}", doctor());
    run_verb(&world, "domains:add blog blog.example.org");
    let warns =
        "warn  certificates: self-signed, so browsers warn\n      fix: sudo apt-get install certbot; ";
    assert!(doctor().contains(warns), "{}", doctor());
}
