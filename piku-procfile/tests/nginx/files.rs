//! Files that nginx serves itself.

use std::fs;
use std::os::unix::fs::symlink;

use crate::app::ServedApp;
use crate::server::World;

#[test]
fn files_are_served_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "secret").unwrap();
    let world = world
        .file("app/Procfile", "static: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_STATIC_PATHS=/all:.,/media:/data/media,/one.txt:public/one.txt,/it's \"a\\b\":public\n")
        .file("app/public/index.html", "<h1>hi</h1>")
        .file("app/public/about.html", "about")
        .file("app/public/one.txt", "one")
        .file("app/public/a.css", "a {}")
        .file("app/public/a.mjs", "1")
        .file("app/public/a.woff2", "1")
        .file("app/public/sub/index.html", "sub")
        .file("app/public/.git/config", "secret")
        .file("app/public/.env", "secret")
        .file("app/public/.well-known/security.txt", "mail me")
        .file("data/media/x.svg", "<svg/>")
        .file("data/private.txt", "secret")
        .file("acme/.well-known/acme-challenge/tok-en_1", "proof");
    symlink(secret.path(), world.path("data/media/link")).unwrap();
    symlink(secret.path(), world.path("app/public/link")).unwrap();
    symlink("/", world.path("data/media/root")).unwrap();
    let world = world.site(&[]).start();
    for (path, kind, body) in [
        ("/", "text/html; charset=utf-8", "<h1>hi</h1>"),
        ("/about", "text/html; charset=utf-8", "about"),
        ("/sub/", "text/html; charset=utf-8", "sub"),
        ("/a.css", "text/css; charset=utf-8", "a {}"),
        ("/a.mjs", "text/javascript; charset=utf-8", "1"),
        ("/a.woff2", "font/woff2", "1"),
        ("/one.txt", "text/plain; charset=utf-8", "one"),
        ("/media/x.svg", "image/svg+xml", "<svg/>"),
        ("/all/public/a.css", "text/css; charset=utf-8", "a {}"),
        ("/it's%20%22a%5Cb%22/a.css", "text/css; charset=utf-8", "a {}"),
        ("/.well-known/security.txt", "text/plain; charset=utf-8", "mail me"),
        ("/.well-known/acme-challenge/tok-en_1", "text/plain", "proof"),
    ] {
        let answer = world.get("blog.test", path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
        let found = answer.header("content-type").unwrap();
        assert!(found.split(';').next() == kind.split(';').next(), "{path}: {found}");
    }
    for path in [
        "/.git/config",
        "/.env",
        "/sub/../.env",
        "/all/ENV",
        "/all/Procfile",
        "/all/public/.env",
        "/media/.x",
        "/media../private.txt",
        "/media/../private.txt",
        "/media/%2e%2e/private.txt",
        "/all/..%2f..%2fpasswords",
        "/none",
        "/link",
        "/media/link",
        "/media/root/etc/passwd",
        "/.well-known/acme-challenge/../../../passwords",
        "/.well-known/acme-challenge/..%2f..%2f..%2fpasswords",
        "/all",
        "/media",
        "/media/",
    ] {
        let answer = world.get("blog.test", path);
        assert!(matches!(answer.status, 301 | 400 | 403 | 404), "{path}: {answer:?}");
        assert!(!answer.body.contains("secret") && !answer.body.contains("root:"), "{path}: {answer:?}");
    }
    assert_eq!(world.get("blog.test", "/media").header("location").as_deref(), Some("/media/"));
}

#[test]
fn a_catch_all_answers_for_a_single_page_app() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: dist\n")
        .file(
            "app/ENV",
            "NGINX_SERVER_NAME=blog.test\nNGINX_CATCH_ALL=/index.html\nNGINX_STATIC_PATHS=/ui:dist",
        )
        .file("app/dist/index.html", "app")
        .file("app/dist/a.js", "js")
        .site(&[])
        .start();
    for (path, body) in [
        ("/", "app"),
        ("/any/where", "app"),
        ("/a.js", "js"),
        ("/ui/", "app"),
        ("/ui/any/where", "app"),
        ("/ui/a.js", "js"),
    ] {
        let answer = world.get("blog.test", path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
    }
    assert_eq!(
        world.get("blog.test", "/x").header("content-type").as_deref(),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(world.status("/.git/x"), 404);
}

#[test]
fn files_come_first_and_the_app_answers_the_rest() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let world = world
        .file("app/Procfile", "web: serve\nstatic: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_CACHE_PREFIXES=/thumb\nNGINX_CACHE_CONTROL=60\n")
        .file("app/public/a.css", "a {}")
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port)])
        .start();
    assert_eq!(world.get("blog.test", "/a.css").body, "a {}");
    assert!(world.get("blog.test", "/").body.starts_with("answer "));
    let first = world.get("blog.test", "/thumb/1");
    let second = world.get("blog.test", "/thumb/1");
    assert_eq!((first.body, second.header("x-cache").as_deref()), (second.body.clone(), Some("HIT")));
    assert_eq!(second.header("cache-control").as_deref(), Some("public, max-age=60"));
    let cookies = [world.get("blog.test", "/thumb/cookie"), world.get("blog.test", "/thumb/cookie")];
    assert_ne!(cookies[0].body, cookies[1].body);
    assert_eq!(cookies[1].header("cache-control"), None);
    let other = world.get("blog.test", "/thumbs");
    assert_eq!(other.header("x-cache"), None);
}

#[test]
fn a_site_has_clean_urls_and_a_page_for_what_does_not_exist() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\n")
        .file("app/public/index.html", "home")
        .file("app/public/about.html", "about")
        .file("app/public/docs/index.html", "docs")
        .file("app/public/docs.html", "page about docs")
        .file("app/public/empty/a.txt", "a")
        .file("app/public/404.html", "my own 404")
        .site(&[])
        .start();
    for (path, body) in [
        ("/", "home"),
        ("/about", "about"),
        ("/about/", "about"),
        ("/about.html", "about"),
        ("/docs", "page about docs"),
        ("/docs/", "docs"),
        ("/about?x=/", "about"),
        ("/404", "my own 404"),
    ] {
        let answer = world.get("blog.test", path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
    }
    for path in ["/nope", "/nope/", "/about/x", "/empty/", "/.env", "/about//../.git/config"] {
        let answer = world.get("blog.test", path);
        assert_eq!((answer.status, answer.body.as_str()), (404, "my own 404"), "{path}");
    }
    // A site without that page.
    let Some(world) = World::new() else { return };
    let world =
        world.file("app/Procfile", "static: public\n").file("app/ENV", "NGINX_SERVER_NAME=blog.test\n");
    let world = world.file("app/public/index.html", "home").site(&[]).start();
    let answer = world.get("blog.test", "/nope");
    assert!(answer.status == 404 && answer.body.contains("<h1>Page not found</h1>"), "{answer:?}");
}
