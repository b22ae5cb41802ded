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
    assert_eq!(world.get("x.blog.test", "/").status, 200);
    let stranger = world.get("other.test", "/");
    assert_eq!((stranger.status, stranger.body.as_str()), (404, "No app has this host name.\n"));
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
            b"GET /upgrade HTTP/1.1\r\nHost: blog.test\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n",
        )
        .unwrap();
    let head = head(&stream).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(b"ping").unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"ping");
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
