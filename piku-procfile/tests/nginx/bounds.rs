//! Bounds on what one app may take of the nginx that all share.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::app::ServedApp;
use crate::server::World;

#[test]
fn a_pattern_that_would_take_long_is_given_up_at_its_limit() {
    let Some(world) = World::new() else { return };
    let app = ServedApp::start();
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=nginx.inc\n")
        .file(
            "app/nginx.inc",
            "location ~ ^/(a+)+[!?]$ { return 204; }\n\
             location ~ \\.(jpg|png)$ { return 205; }\n\
             rewrite ^/old/(.*)$ /new/$1;\n\
             if ($http_user_agent ~* ^(.*)*(bot|crawler)$) { return 403; }\n",
        )
        .site(&["--upstream", &format!("127.0.0.1:{}", app.port)])
        .start();
    assert_eq!(world.status("/aaa!"), 204);
    assert_eq!(world.status("/x/y.png"), 205);
    assert!(world.get("blog.test", "/old/a").body.starts_with("answer "));
    // 2^30 ways to fail without a limit.
    assert_eq!(world.status(&format!("/{}", "a".repeat(30))), 500);
    assert_eq!(world.status(&format!("/{}", "b".repeat(7000))), 200);
    let agent = format!(
        "GET /x HTTP/1.1\r\nHost: blog.test\r\nUser-Agent: {}\r\nConnection: close\r\n\r\n",
        "y".repeat(7000)
    );
    assert_eq!(world.send(&agent).status, 500);
}

#[test]
fn requests_beyond_the_app_s_share_are_refused_and_larger_buffers_mean_fewer() {
    let Some(world) = World::new() else { return };
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let upstream = silent.local_addr().expect("its number").to_string();
    let world = world
        .file("app/ENV", "NGINX_SERVER_NAME=blog.test\nNGINX_INCLUDE_FILE=nginx.inc\n")
        .file("app/nginx.inc", "location /x { proxy_buffers 16 32k; proxy_pass http://app; }\n")
        .site(&["--upstream", &upstream, "--connections", "32"])
        .start();
    let begin = || {
        let mut stream = TcpStream::connect(("127.0.0.1", world.port)).expect("nginx listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: blog.test\r\n\r\n").expect("nginx reads");
        stream
    };
    // 544k instead of 96k for each.
    let held: Vec<TcpStream> = (0..5).map(|_| begin()).collect();
    let accepted: Vec<TcpStream> = (0..5).map(|_| accept(&silent)).collect();
    let mut one_more = begin();
    let mut status = [0; 12];
    one_more.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    one_more.read_exact(&mut status).expect("nginx answers");
    assert_eq!(&status, b"HTTP/1.1 503");
    drop((held, accepted));
}

/// The next connection, waited for with an end.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("a socket");
    for _ in 0..2000 {
        if let Ok((stream, _)) = listener.accept() {
            return stream;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no request in twenty seconds");
}
