//! An app whose file leaves out what all apps share.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::app::{ServedApp, head, header};
use crate::server::World;

#[test]
fn an_app_inherits_what_apps_share() {
    let Some(world) = World::shared() else { return };
    let app = ServedApp::start();
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\n")
        .file("acme/.well-known/acme-challenge/tok-en_1", "proof")
        .file("acme/.well-known/acme-challenge/tok.en", "no token")
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port)])
        .start();
    let text = std::fs::read_to_string(world.path("nginx/apps/blog.conf")).expect("a file");
    // Older packages of nginx-light lack the module.
    let shared = world.render(&["--print", "shared"]);
    assert!(!shared.contains("geo "), "{shared}");
    // Each takes a twentieth of a reload.
    assert_eq!(shared.matches("map ").count(), 3, "{shared}");
    assert!(!["proxy_set_header", "proxy_buffers", "map "].iter().any(|name| text.contains(name)), "{text}");
    let asked = |host: &str| {
        world
            .send(&format!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 1.2.3.4\r\nProxy: evil\r\nContent-Length: 2\r\n\
                 Forwarded: for=9.9.9.9;proto=https\r\nX-Forwarded-Ssl: on\r\nX-Forwarded-Scheme: https\r\nConnection: close\r\n\r\nhi"
            ))
            .body
    };
    let port = world.port;
    for (host, passed) in [("Blog.Test", "blog.test".to_owned()), ("blog.test:81", "blog.test:81".to_owned())]
    {
        let body = asked(host);
        let expected = [
            ("host", Some(passed.as_str())),
            ("x-forwarded-host", Some(&passed)),
            ("x-forwarded-for", Some("1.2.3.4, 127.0.0.1")),
            ("x-forwarded-proto", Some("http")),
            ("x-forwarded-port", Some(&port.to_string())),
            ("x-real-ip", Some("127.0.0.1")),
            ("connection", None),
            ("upgrade", None),
            ("proxy", None),
            ("forwarded", None),
            ("x-forwarded-ssl", None),
            ("x-forwarded-scheme", None),
        ];
        for (name, value) in expected {
            assert_eq!(header(&body, name).as_deref(), value, "{name} of {host}: {body}");
        }
    }
    for (path, status) in [("tok-en_1", 200), ("tok.en", 404), ("", 404), ("none", 404)] {
        assert_eq!(world.status(&format!("/.well-known/acme-challenge/{path}")), status, "{path}");
    }
    for (path, status) in [
        ("/.git/config", 404),
        ("/a/%2egit", 404),
        ("//.git//config", 404),
        ("/a/../.git/config", 404),
        ("/%2f.git%2fconfig", 404),
        ("/a/%2e%2e/%2E%67it", 404),
        ("/.well-known/acme-challenge/../../.git/config", 404),
        ("http://blog.test/.git/config", 404),
        ("http://blog.test/.gitx", 200),
        ("/.gitx", 200),
    ] {
        assert_eq!(world.status(path), status, "{path}");
    }
    let mut socket = open_websocket(port, "/upgrade?a=%20b");
    socket.write_all(b"ping").expect("nginx reads");
    let mut echo = [0; 4];
    socket.read_exact(&mut echo).expect("an echo");
    assert_eq!(&echo, b"ping");
}

/// Asks for a websocket, which the app accepts.
fn open_websocket(port: u16, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("nginx listens");
    let upgrade = "Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    write!(socket, "GET {path} HTTP/1.1\r\nHost: blog.test\r\n{upgrade}").expect("nginx reads");
    let answer = head(&socket).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert_eq!(header(&answer, "x-path").as_deref(), Some(path.trim_start_matches("/old")));
    socket
}

#[test]
fn an_app_replaces_what_apps_share() {
    let Some(world) = World::shared() else { return };
    let app = ServedApp::start();
    let env = "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.inc\nNGINX_CLIENT_MAX_BODY_SIZE=1k\n\
               NGINX_CACHE_PREFIXES=/thumb\n";
    let own = "proxy_set_header X-Forwarded-Host own.test;\nproxy_set_header X-Top yes;\n\
               location /api { proxy_set_header X-Api yes; }\n\
               location /upgrade/api { proxy_set_header X-Api yes; }\nlocation = /upgrade/exact { }\n\
               rewrite ^/old/(.*)$ /$1 last;\nrewrite ^/hidden/(.*)$ /.$1 last;\n\
               location ^~ /moved/ { rewrite ^/moved/(.*)$ /.$1 last; }\n";
    let world = world
        .file("app/ENV", env)
        .file("app/own.inc", own)
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port), "--trusted-proxy", "127.0.0.1"])
        .start();
    let asked = |path: &str, size: usize| {
        world.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: blog.test\r\nX-Forwarded-Proto: https\r\nContent-Length: {size}\r\n\
             Connection: close\r\n\r\n{}",
            "x".repeat(size)
        ))
    };
    for (path, api) in [("/", None), ("/api/1", Some("yes"))] {
        let body = asked(path, 3).body;
        let expected = [
            ("host", Some("blog.test")),
            ("x-forwarded-host", Some("own.test")),
            ("x-forwarded-proto", Some("https")),
            ("x-top", Some("yes")),
            ("x-api", api),
            ("connection", None),
        ];
        for (name, value) in expected {
            assert_eq!(header(&body, name).as_deref(), value, "{name} of {path}: {body}");
        }
    }
    assert_eq!(asked("/", 1025).status, 413);
    assert_eq!(["/old/.git/config", "/.git", "/old/x"].map(|path| world.status(path)), [404, 404, 200]);
    let made = ["/hidden/git/config", "/hidden/git", "/moved/git/config", "/hidden/gitx"];
    assert_eq!(made.map(|path| world.status(path)), [404, 404, 404, 200]);
    for path in ["/upgrade", "/upgrade/api", "/upgrade/exact", "/old/upgrade"] {
        open_websocket(world.port, path);
    }
    let cached = ["MISS", "HIT"].map(|_| world.get("blog.test", "/thumb/1").header("x-cache"));
    assert_eq!(cached, ["MISS", "HIT"].map(|text| Some(text.to_owned())));
}

#[test]
fn the_limit_counts_the_requests_of_each_app() {
    let Some(world) = World::shared() else { return };
    let app = ServedApp::start();
    let upstream = format!("127.0.0.1:{}", app.port);
    let arguments = ["--upstream", upstream.as_str(), "--connections", "1"];
    let other = world.file("app/ENV", "NGINX_SERVER_NAME=shop.test\n");
    let text = other.render(&[&["--app", "shop", "--shared"], &arguments[..]].concat());
    let world = other
        .file("nginx/apps/shop.conf", text)
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\n")
        .site(&arguments)
        .start();
    let _websocket = open_websocket(world.port, "/upgrade");
    assert_eq!(world.status("/"), 503);
    assert_eq!(world.get("shop.test", "/").status, 200);
}
