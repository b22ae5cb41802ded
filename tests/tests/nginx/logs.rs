//! The logs that nginx keeps for each app.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use piku_tests::nginx::start_server;
use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

fn logs(world: &World, key: &str, words: &str) -> (bool, String) {
    let out = world.ssh(key, words);
    (out.status.success(), text(&out))
}

#[test]
fn key_of_an_app_sees_its_requests_and_errors() {
    let (world, ports) = start_server("");
    for app in ["blog", "shop"] {
        let repo = world.repo(app);
        repo.serves("page\n").file("ENV", format!("NGINX_SERVER_NAME={app}.test\n")).commit("One");
        repo.push().succeeds();
    }
    world.add_key("guest", &["blog"]);
    let (good, said) = logs(&world, "guest", "logs blog --nginx");
    assert!(!good && said.contains("nginx has logged no requests for 'blog'"), "{said}");

    assert_eq!(ports.get("shop.test", "/secret-of-the-shop").status, 200);
    // A client writes what the operator's terminal would obey.
    let hostile = "Referer: \u{1b}[31m\u{1b}]0;title\u{7}red\r\nConnection: close\r\n\r\n";
    let big = format!("POST /upload HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 99999999999\r\n{hostile}");
    // nginx resets the connection at the end, because the body does not come.
    let mut stream = TcpStream::connect(("127.0.0.1", ports.http)).expect("nginx listens");
    stream.write_all(big.as_bytes()).expect("nginx reads");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("nginx answers");
    assert_eq!(&status, b"HTTP/1.1 413");
    drop(stream);
    assert_eq!(ports.get("blog.test", "/last?page=1").status, 200);
    let shown = || logs(&world, "guest", "logs blog --nginx").1;
    wait_for("the requests", || ["/last?page=1", "\" 413 "].iter().all(|text| shown().contains(text)));
    let text = shown();
    assert!(text.contains("[error]") && text.contains("too large body"), "{text}");
    assert!(!text.contains("shop") && !text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    let (good, said) = logs(&world, "guest", "logs shop --nginx");
    assert!(!good && !said.contains("secret"), "{said}");

    assert!(world.ssh("laptop", "destroy shop --confirm shop").status.success());
    let left = fs::read_dir(world.root().join("nginx/logs")).expect("the logs").flatten();
    let names: Vec<_> = left.map(|entry| entry.file_name().into_string().expect("a name")).collect();
    assert!(names.iter().all(|name| name.starts_with("blog.")), "{names:?}");
}

#[test]
fn logs_of_nginx_are_rotated() {
    let ports = piku_tests::nginx::Ports::free();
    let mut world = World::with_settings(&format!("{}logs: {{megabytes: 1, keep: 1}}", ports.settings("")));
    world.start_nginx();
    let repo = world.repo("blog");
    repo.serves("page\n").file("ENV", "NGINX_SERVER_NAME=blog.test\n").commit("One").push().succeeds();
    let path = |name: &str| world.root().join("nginx").join(name);
    // As many requests would take too long: they are there already.
    for name in ["error.log", "logs/blog.access.log", "logs/blog.error.log"] {
        let mut text = "2026/11/28 10:00:00 [error] 7#7: *1 a line of nginx's\n".repeat(30_000);
        text.push_str("the last one\n");
        fs::write(path(name), text).expect(name);
    }
    assert_eq!(ports.get("blog.test", "/one").status, 200);
    for name in ["error.log", "logs/blog.access.log", "logs/blog.error.log"] {
        wait_for("the rotation", || path(&format!("{name}.1")).exists());
    }
    // nginx writes to the new file, and the reader goes on from the old one.
    wait_for("a new log", || {
        let _ = ports.get("blog.test", "/two");
        fs::read_to_string(path("logs/blog.access.log")).is_ok_and(|text| text.contains("/two"))
    });
    let (good, text) = logs(&world, "laptop", "logs blog --nginx -n 100000");
    assert!(good && text.contains("the last one") && text.contains("GET /two"), "{}", text.len());
}
