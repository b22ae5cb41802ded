//! The rules that a site of files has in `_redirects` and `_headers`.

use crate::server::World;

#[test]
fn redirects_of_a_site_are_followed() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\n")
        .file(
            "app/public/_redirects",
            "/old /new\n/moved https://b.test/x?y=1 301\n/blog/* /news/:splat/end 308\n/all/* /one 303\n\
             /x/:id /y\n/app.js /new.js 302\n/* /index.html 200\n",
        )
        .file("app/public/index.html", "home")
        .file("app/public/app.js", "js")
        .site(&[])
        .start();
    for (path, status, target) in [
        ("/old", 302, "/new"),
        ("/old?a=b", 302, "/new"),
        ("/moved", 301, "https://b.test/x?y=1"),
        ("/blog/a/b.html?c", 308, "/news/a/b.html/end"),
        ("/blog/%0d%0aSet-Cookie:a", 308, "/news/%0d%0aSet-Cookie:a/end"),
        ("/all/x", 303, "/one"),
        ("/app.js", 302, "/new.js"),
    ] {
        let answer = world.get("blog.test", path);
        assert_eq!((answer.status, answer.header("location").as_deref()), (status, Some(target)), "{path}");
    }
    for path in ["/", "/any/where", "/x/1", "/blog//evil.test"] {
        assert_eq!(world.get("blog.test", path).body, "home", "{path}");
    }
    assert_ne!(world.get("blog.test", "/_redirects").status, 200);
}

#[test]
fn headers_of_a_site_are_sent() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.conf\n")
        .file("app/own.conf", "add_header X-Own 1;\nadd_header X-Both own;\n")
        .file(
            "app/public/_headers",
            "/*\n  X-Frame-Options: DENY\n  Content-Security-Policy: default-src 'self'; img-src \"x\" {}\n  X-Both: site\n\
             /assets/*\n  Cache-Control: public, max-age=31556952, immutable\n  ! X-Frame-Options\n/page.html\n  X-Frame-Options: SAMEORIGIN\n",
        )
        .file("app/public/index.html", "home")
        .file("app/public/page.html", "page")
        .file("app/public/assets/a.css", "a {}");
    let world = world.site(&[]).start();
    let policy = "default-src 'self'; img-src \"x\" {}";
    for (path, status, expected) in [
        ("/", 200, [Some("DENY"), Some(policy), None]),
        ("/none", 404, [Some("DENY"), Some(policy), None]),
        ("/page.html?x=/assets/", 200, [Some("DENY, SAMEORIGIN"), Some(policy), None]),
        ("/assets/a.css", 200, [None, Some(policy), Some("public, max-age=31556952, immutable")]),
    ] {
        let answer = world.get("blog.test", path);
        assert_eq!(answer.status, status, "{path}");
        let names = ["x-frame-options", "content-security-policy", "cache-control"];
        assert_eq!(
            names.map(|name| answer.header(name)),
            expected.map(|value| value.map(str::to_owned)),
            "{path}"
        );
        assert_eq!(answer.header("x-own").as_deref(), (status == 200).then_some("1"), "{path}");
    }
    assert_eq!(world.get("blog.test", "/").header("x-both").as_deref(), Some("own"));
    assert_ne!(world.get("blog.test", "/_headers").status, 200);
}

#[test]
fn a_redirect_has_regard_to_case() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\n")
        .file(
            "app/public/_redirects",
            "/Page /page 301\n/docs /Docs 301\n/A /one 302\n/a /two 301\n/aA /three 302\n/A /four 301\n/old /new\n",
        )
        .file("app/public/page.html", "page")
        .file("app/public/Docs.html", "docs")
        .site(&[])
        .start();
    for (path, target) in [
        ("/Page", "/page"),
        ("/docs", "/Docs"),
        ("/A", "/one"),
        ("/a", "/two"),
        ("/aA", "/three"),
        ("/old", "/new"),
    ] {
        assert_eq!(world.get("blog.test", path).header("location").as_deref(), Some(target), "{path}");
    }
    assert_eq!(world.get("blog.test", "/page").body, "page");
    assert_eq!(world.get("blog.test", "/Docs").body, "docs");
    assert_eq!(world.status("/Aa"), 404);
}

#[test]
fn no_spelling_of_a_path_is_without_its_headers() {
    let Some(world) = World::new() else { return };
    let world = world
        .file("app/Procfile", "static: public\n")
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.conf\n")
        .file("app/own.conf", "set $own 1;\nrewrite ^/old$ /page.html;\n")
        .file(
            "app/public/_headers",
            "/admin/\n  X-Admin: exact\n/admin/*\n  X-Frame-Options: DENY\n/page.html\n  X-Page: 1\n/Page.html\n  X-Page: 2\n\
             /page\n  X-Page: clean\n/two%20words%0a\n  X-Page: words\n/none\n  X-Page: none\n/old\n  X-Page: old\n\
             /404.html\n  X-Page: wrong\n/b//c%2Fd\n  X-Page: slashes\n",
        )
        .file("app/public/page.html", "page")
        .file("app/public/Page.html", "Page")
        .file("app/public/two words\n.html", "words")
        .file("app/public/b/c/d.html", "d")
        .file("app/public/404.html", "not found")
        .file("app/public/admin/index.html", "admin")
        .site(&[])
        .start();
    for path in
        ["/admin/", "//admin/", "/%61dmin/", "/./admin/", "/x/../admin/?a", "/admin%2F", "/admin/?x=//"]
    {
        let answer = world.get("blog.test", path);
        let found = ["x-admin", "x-frame-options"].map(|name| answer.header(name));
        assert_eq!(found, [Some("exact".to_owned()), Some("DENY".to_owned())], "{path}");
        assert_eq!(answer.body, "admin", "{path}");
    }
    for (path, status, expected) in [
        ("/page.html", 200, Some("1")),
        ("/%70age.html", 200, Some("1")),
        ("//page.html", 200, Some("1")),
        ("/./page.html", 200, Some("1")),
        ("/Page.html", 200, Some("2")),
        ("/%50age.html", 200, Some("2")),
        ("/page", 200, Some("clean")),
        ("/p%61ge", 200, Some("clean")),
        ("/two%20words%0A", 200, Some("words")),
        ("/page.html%0a", 404, None),
        ("/none", 404, Some("none")),
        ("//n%6Fne", 404, Some("none")),
        ("/other", 404, None),
        ("/old", 200, Some("old")),
        ("/b/c/d", 200, Some("slashes")),
    ] {
        let answer = world.get("blog.test", path);
        assert_eq!((answer.status, answer.header("x-page").as_deref()), (status, expected), "{path}");
    }
}

fn lines(numbers: std::ops::Range<usize>, line: impl Fn(usize) -> String) -> String {
    numbers.map(line).collect::<Vec<_>>().concat()
}

#[test]
fn no_file_of_headers_or_redirects_makes_a_configuration_that_nginx_rejects() {
    let quotes = "\"\\".repeat(990);
    let nested = |number: usize| "/a".repeat(number);
    let files = [
        format!("/*\n  X-A: {quotes}\n"),
        format!("/*\n  X-A: {quotes}\n/a/*\n  X-A: {quotes}\n  x-a: b\n"),
        lines(0..600, |number| format!("/{number}\n  X-{number}: {}\n", "v".repeat(400))),
        lines(1..60, |number| format!("{}/*\n  X-A: {quotes}\n  X-B: {quotes}\n", nested(number))),
        lines(1..100, |number| format!("{}/*\n  X-A: {}\n", nested(number), "v".repeat(19))),
        format!("/A\n  X-A: 1\n/a\n  X-A: 2\n/{}\n  X-A: 3\n/\u{e9}\n  X-A: 4\n", "%0d".repeat(66)),
        "/%00%01%7f%24host%c3%a9%c2%85\n  X-A: 1\n/%ff\n  X-A: 1\n/a\0b\n  X-A: \0\n/crlf\r\n  X-A: 1\r\n"
            .to_owned(),
    ];
    let redirects: [String; 4] = [
        "/A /x\n/a /y 301\n/a. /z\n/%41 /x\n/crlf /y 301\r\n/a\0 /x\n".to_owned(),
        lines(0..1100, |number| format!("/{number}{} /{}\n", "p".repeat(190), "t".repeat(30))),
        lines(0..4000, |number| format!("/P{number} /p{number}\n")),
        format!("/{} /{}\n/x /{}\n", "a".repeat(199), "b".repeat(1023), "c".repeat(5000)),
    ];
    for (at, text) in files.iter().enumerate() {
        let Some(world) = World::new() else { return };
        let world = world
            .file("app/Procfile", "static: public\n")
            .file("app/ENV", "NGINX_SERVER_NAME=blog.test\n")
            .file("app/public/_headers", text)
            .file("app/public/_redirects", redirects.get(at).map_or("", String::as_str))
            .site(&[]);
        let size = std::fs::metadata(world.path("nginx/apps/blog.conf")).unwrap().len();
        assert!(size < 1 << 20, "{at}: {size} bytes");
        assert_eq!(world.tested(), Ok(()), "{at}");
    }
}
