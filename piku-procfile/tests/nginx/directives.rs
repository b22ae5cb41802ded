//! Settings of single directives: sizes, times, headers, redirects, the app for all other names.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::app::{ServedApp, header};
use crate::server::World;

/// Answers each request with a header and cookies of these sizes in bytes.
fn serve_headers(size: usize, cookies: usize) -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in socket.incoming().flatten() {
            let _ = crate::app::head(&stream);
            let cookies = format!("Set-Cookie: a={}\r\n", "b".repeat(1500)).repeat(cookies);
            let head = format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\n{cookies}", "a".repeat(size));
            let _ = write!(stream, "{head}Content-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    port
}

#[test]
fn large_headers_pass_in_both_directions() {
    let Some(mut world) = World::new() else { return };
    for (more, size, cookies, status) in [
        ("", 16_000, 4, 200),
        ("", 40_000, 0, 502),
        ("NGINX_PROXY_BUFFER_SIZE=64k\n", 40_000, 4, 200),
        ("NGINX_PROXY_BUFFERS='4 4k'\n", 3000, 4, 200),
    ] {
        let upstream = format!("127.0.0.1:{}", serve_headers(size, cookies));
        let started = world
            .file("app/ENV", format!("NGINX_SERVER_NAME=blog.test\n{more}"))
            .site(&["--upstream", &upstream])
            .start();
        assert_eq!(started.status("/"), status, "{more} {size}");
        drop(started);
        let Some(next) = World::new() else { return };
        world = next;
    }
    let app = ServedApp::start();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test\n");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{}", app.port)]).start();
    let cookie = format!("s={}", "c".repeat(30_000));
    let request = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: blog.test\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n")
    };
    let answer = world.send(&request(&format!("/{}", "p".repeat(30_000))));
    assert_eq!((answer.status, header(&answer.body, "cookie")), (200, Some(cookie.clone())));
    assert_eq!(world.status(&format!("/{}", "p".repeat(33_000))), 414);
}

#[test]
fn sizes_times_and_flags_are_set() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let env = "NGINX_SERVER_NAME=blog.test\nNGINX_CLIENT_MAX_BODY_SIZE=10\nNGINX_UNDERSCORE_IN_HEADERS=on\n\
        NGINX_PROXY_READ_TIMEOUT=1s\nNGINX_PROXY_SEND_TIMEOUT=1h\nNGINX_PROXY_CONNECT_TIMEOUT=2s\n\
        NGINX_CLIENT_BODY_TIMEOUT=30\nNGINX_SEND_TIMEOUT=1m\nNGINX_KEEPALIVE_TIMEOUT=500ms\nNGINX_LINGERING_TIMEOUT=1s\n\
        NGINX_PROXY_BUFFERING=off\nNGINX_PROXY_REQUEST_BUFFERING=off\nNGINX_PROXY_KEEPALIVE=0\n\
        NGINX_PROXY_BUFFERS='16 16k'\nNGINX_PROXY_BUSY_BUFFERS_SIZE=64k\n";
    let world = world.file("app/ENV", env).site(&["--upstream", &format!("127.0.0.1:{}", app.port)]).start();
    let head = "HTTP/1.1\r\nHost: blog.test\r\nX_Under: yes\r\nConnection: close\r\n";
    let answer = world.send(&format!("GET / {head}\r\n"));
    assert_eq!(header(&answer.body, "x_under").as_deref(), Some("yes"), "{answer:?}");
    // But none that a program which reads '-' and '_' alike takes for what nginx says about the client.
    let answer = world.send(&format!(
        "GET / {head}X_Real_IP: 6.6.6.6\r\nX-Forwarded_For: 6.6.6.6\r\nx_forwarded-proto: spdy\r\n\r\n"
    ));
    assert!(
        answer.status == 200 && !answer.body.contains("6.6.6.6") && !answer.body.contains("spdy"),
        "{answer:?}"
    );
    assert_eq!(world.send(&format!("POST / {head}Content-Length: 11\r\n\r\n12345678901")).status, 413);

    // Without the setting, which could smuggle X_Forwarded_For past a program that reads '-' and '_' alike.
    let Some(world) = World::new() else { return };
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_PROXY_READ_TIMEOUT=1s\n");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let world = world.site(&["--upstream", &silent.local_addr().expect("its number").to_string()]).start();
    assert_eq!(world.send(&format!("GET / {head}\r\n")).status, 504);
    let (mut asked, _) = silent.accept().expect("the request");
    asked.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut text = String::new();
    asked.read_to_string(&mut text).expect("its end");
    assert_eq!(header(&text, "x_under"), None);
}

#[test]
fn one_app_gets_the_requests_for_all_other_names() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let upstream = format!("127.0.0.1:{}", app.port);
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=_\n").site(&["--upstream", &upstream]);
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=other.test *.any.test\n")
        .file("app/Procfile", "static: public\n");
    let root = world.path("app").to_str().expect("text").to_owned();
    let other = world.render(&["--app", "other", "--root", &root]);
    let world = world.file("app/public/index.html", "other").file("nginx/apps/a-other.conf", other).start();
    for host in ["blog.test", "127.0.0.1", "[::1]", "any.test", "localhost:8080"] {
        assert!(world.get(host, "/").body.starts_with("answer "), "{host}");
    }
    assert!(world.send("GET / HTTP/1.0\r\n\r\n").body.starts_with("answer "));
    for host in ["other.test", "x.any.test"] {
        assert_eq!(world.get(host, "/").body, "other");
    }
}

#[test]
fn other_names_are_redirected() {
    let Some(world) = World::new() else { return };
    let env =
        "NGINX_SERVER_NAME=blog.test\nNGINX_REDIRECTS=www.blog.test:blog.test, *.old.test:new.test:302\n";
    let world = world
        .file("app/ENV", env)
        .file("acme/.well-known/acme-challenge/token", "proof")
        .site(&["--upstream", "127.0.0.1:9"])
        .start();
    let port = world.port;
    let location = |host: &str, path: &str| {
        let answer = world.get(host, path);
        (answer.status, answer.header("location").unwrap_or_default())
    };
    assert_eq!(location("www.blog.test", "/a?b=c"), (301, "http://blog.test/a?b=c".to_owned()));
    assert_eq!(location(&format!("www.blog.test:{port}"), "/"), (301, format!("http://blog.test:{port}/")));
    assert_eq!(
        location("x.old.test", "/%0d%0aSet-Cookie:a"),
        (302, "http://new.test/%0d%0aSet-Cookie:a".to_owned())
    );
    assert_eq!(world.get("www.blog.test", "/.well-known/acme-challenge/token").body, "proof");
}
