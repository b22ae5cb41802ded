//! Requests that an app answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use piku_tests::ports::free_port;

use crate::app::{ServedApp, head, header};
use crate::server::World;

#[test]
fn requests_reach_the_app_with_what_it_needs_to_know() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test, *.blog.test\n");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{}", app.port)]).start();
    let port = world.port;
    let answer = world.send(&format!(
        "GET /a%20b/../c?x=%2e HTTP/1.1\r\nHost: Blog.test:{port}\r\nX-Forwarded-For: 9.9.9.9\r\nProxy: evil\r\n\
         Upgrade: h2c\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("GET /a%20b/../c?x=%2e HTTP/1.1"), "{answer:?}");
    for (name, value) in [
        ("host", &*format!("blog.test:{port}")),
        ("x-forwarded-for", "9.9.9.9, 127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", &port.to_string()),
        ("x-real-ip", "127.0.0.1"),
    ] {
        assert_eq!(header(&answer.body, name).as_deref(), Some(value), "{answer:?}");
    }
    for name in ["proxy", "upgrade", "connection"] {
        assert_eq!(header(&answer.body, name), None, "{name}");
    }
    // A client that offers another protocol is answered by HTTP/1.1, with the body of its request.
    let answer = world.send(
        "POST /offer HTTP/1.1\r\nHost: blog.test\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\nContent-Length: 4\r\n\r\nbody",
    );
    assert_eq!(answer.status, 200);
    assert_eq!(header(&answer.body, "content-length").as_deref(), Some("4"), "{answer:?}");
    assert_eq!(header(&answer.body, "host").as_deref(), Some("blog.test"));
    assert_eq!([header(&answer.body, "upgrade"), header(&answer.body, "connection")], [None, None]);
    assert_eq!(app.count(), 2);
    assert_eq!(world.get("x.blog.test", "/").status, 200);
    let stranger = world.get("other.test", "/");
    assert_eq!(stranger.status, 404);
    assert!(stranger.body.contains("<h1>No app has this host name.</h1>"), "{}", stranger.body);
    assert_eq!(
        [world.status("/.git/config"), world.status("/a/.git"), world.status("/.gitx")],
        [404, 404, 200]
    );
    assert_eq!(world.get("blog.test", "/.well-known/acme-challenge/none").status, 404);
}

#[test]
fn a_websocket_is_passed_through() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{}", app.port)]).start();
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(
            b"GET /upgrade/%2e%2e/a%20b?x=%41 HTTP/1.1\r\nHost: blog.test\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n",
        )
        .unwrap();
    let head = head(&stream).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(header(&head, "x-path").as_deref(), Some("/upgrade/%2e%2e/a%20b?x=%41"));
    stream.write_all(b"ping").unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"ping");
}

#[test]
fn a_websocket_to_an_app_that_does_not_answer_gets_the_page_of_the_site() {
    let Some(world) = World::new() else { return };
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{}", free_port())]).start();
    for upgrade in ["", "Upgrade: websocket\r\n"] {
        let head = format!("GET /chat HTTP/1.1\r\nHost: blog.test\r\n{upgrade}Connection: close\r\n\r\n");
        let answer = world.send(&head);
        assert_eq!(answer.status, 502);
        assert!(answer.body.contains("<h1>This site does not answer</h1>"), "{upgrade}{}", answer.body);
    }
}

#[test]
fn what_may_not_be_sent_twice_is_not_and_a_dead_instance_is_passed_over() {
    let Some(world) = World::new() else { return };
    let apps = [ServedApp::start(), ServedApp::start()];
    let dead = free_port();
    let upstreams: Vec<String> =
        [dead, apps[0].port, apps[1].port].iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test");
    let args: Vec<&str> = upstreams.iter().flat_map(|upstream| ["--upstream", upstream]).collect();
    let world = world.site(&args).start();
    let count = || apps[0].count() + apps[1].count();
    let post = |path: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
        );
        world.send(&request).status
    };
    for _ in 0..6 {
        assert_eq!([post("/"), world.status("/")], [200, 200]);
    }
    assert_eq!(count(), 12);
    // Both were asked.
    assert!(apps.iter().all(|app| app.count() > 0));
    assert_eq!(post("/fail"), 502);
    assert_eq!(count(), 13);
    assert_eq!(world.status("/fail"), 502);
    assert_eq!(count(), 15);
}

/// Opens a stream and reads until its first piece has come.
fn open_stream(world: &World, kind: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).expect("a stream");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a stream");
    let request = format!("GET /stream/{kind} HTTP/1.1\r\nHost: blog.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a stream");
    let head = head(&stream).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut size = [0; 3];
    stream.read_exact(&mut size).expect("a stream");
    let mut piece = [0; 7];
    stream.read_exact(&mut piece).expect("the first piece, before the second is written");
    assert_eq!(&piece, b"data: 1");
    stream
}

#[test]
fn events_and_other_streams_arrive_when_they_are_written() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{}", app.port)]).start();
    for kind in ["text/event-stream", "application/json"] {
        let mut stream = open_stream(&world, kind);
        assert_eq!(world.status("/next"), 200);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(String::from_utf8_lossy(&rest).contains("data: 2"), "{kind}");
    }
}

#[test]
fn a_websocket_may_be_idle_as_long_as_the_setting_says() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_WEBSOCKET_TIMEOUT=1\n");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{}", app.port)]).start();
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request =
        "GET /upgrade HTTP/1.1\r\nHost: blog.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    assert!(head(&stream).expect("an answer").starts_with("HTTP/1.1 101 "));
    // It sends nothing, and nor does the app. nginx ends an idle connection, with or without a reset.
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn an_app_that_speaks_only_http2_is_reached() {
    let Some(world) = World::new() else { return };
    // Another server block stands for the app.
    let port = free_port();
    let app = format!(
        "server {{ listen 127.0.0.1:{port} http2; location / {{ return 200 '$server_protocol $request_uri'; }} }}\n"
    );
    let world = world.file("nginx/apps/server.conf", app);
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_GRPC_PREFIXES=/\n");
    let world = world.site(&["--upstream", &format!("127.0.0.1:{port}")]).start();
    assert_eq!(world.get("blog.test", "/shop.Cart/Add").body, "HTTP/2.0 /shop.Cart/Add");
}

#[test]
fn requests_and_errors_are_logged_for_their_app_alone() {
    let Some(world) = World::new() else { return };
    let dead = free_port();
    let world = world.file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=own.conf\n");
    let world =
        world.file("app/own.conf", "location /quiet { access_log off; return 204; }\n").file("logs/x", "");
    let logs = world.path("logs").to_str().expect("text").to_owned();
    let world = world.site(&["--upstream", &format!("127.0.0.1:{dead}"), "--logs", &logs]).start();
    assert_eq!(world.get("blog.test", "/red?a=b").status, 502);
    assert_eq!(world.get("blog.test", "/quiet").status, 204);
    assert_eq!(world.get("other.test", "/not-its").status, 404);
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap_or_default();
    piku_tests::world::wait_for("the buffered lines", || {
        read("logs/blog.access.log").contains("red?a=b") && read("nginx/access.log").contains("/not-its")
    });
    let (access, errors) = (read("logs/blog.access.log"), read("logs/blog.error.log"));
    assert_eq!(access.lines().count(), 1, "{access}");
    assert!(errors.contains("Connection refused") && errors.contains("blog.test"), "{errors}");
    assert!(!read("nginx/error.log").contains("blog.test"));
}
