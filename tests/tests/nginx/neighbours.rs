//! Long connections of one app while another app changes. A change reloads the nginx that they share.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use piku_files::FileLock;
use piku_tests::nginx::{Ports, start_server};
use piku_tests::processes;
use piku_tests::trace::CallTrace;
use piku_tests::world::{World, wait_for};

use crate::run_verb;

/// Echoes what a websocket sends, and sends a download until its data has a file `finish`.
const LONG: &str = r#"#!/usr/bin/env python3
import asyncio, os
async def handle(reader, writer):
    head = await reader.readuntil(b'\r\n\r\n')
    if b'websocket' in head:
        writer.write(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
        while data := await reader.read(100):
            writer.write(data)
    elif b'/download' in head:
        writer.write(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n')
        while not os.path.exists('/data/finish') and not os.path.exists(os.environ['DATA_DIR'] + '/finish'):
            writer.write(b'.' * 4096)
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(b'the end')
    else:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello')
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(handle, '127.0.0.1', int(os.environ['PORT']))
    await server.serve_forever()
asyncio.run(main())
"#;

fn request(ports: Ports, host: &str, path: &str, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", ports.http)).expect("nginx listens");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n").expect("nginx reads");
    stream
}

/// Opens a websocket and uses it once.
fn open_websocket(ports: Ports, host: &str) -> TcpStream {
    let mut stream = request(ports, host, "/", "Upgrade: websocket\r\nConnection: Upgrade\r\n");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    assert_eq!(echo(&mut stream), "ping");
    stream
}

/// Sends four bytes and returns what comes back; nothing if the connection has ended.
fn echo(stream: &mut TcpStream) -> String {
    let mut back = [0; 4];
    let answered = stream.write_all(b"ping").and_then(|()| stream.read_exact(&mut back));
    answered.map(|()| String::from_utf8_lossy(&back).into_owned()).unwrap_or_default()
}

/// Returns whether the other side has ended the connection. A timeout is no end.
fn is_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(err) => err.kind() == ErrorKind::ConnectionReset,
    }
}

/// Pushes an app with long connections.
fn push_long(world: &World, app: &str, host: &str) -> piku_tests::repo::Repo {
    let repo = world.repo(app);
    repo.file("Procfile", "web: ./serve\n").program("serve", LONG);
    repo.file("ENV", format!("NGINX_SERVER_NAME={host}\n")).commit("One").push().succeeds();
    repo
}

#[test]
fn change_of_another_app_ends_no_connection() {
    let rounds = std::env::var("PIKU_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let (world, ports) = start_server(", drain: 1");
    let home = |name: &str| world.path("home").join(name);
    fs::create_dir(home(".acme.sh")).expect("a folder");
    fs::write(home(".acme.sh/acme.sh"), crate::settings::ACME).expect("a script");
    fs::set_permissions(home(".acme.sh/acme.sh"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::write(home("port"), ports.http.to_string()).expect("a port");
    push_long(&world, "chat", "chat.test");
    let blog = push_long(&world, "blog", "blog.example.org");

    let mut chat = open_websocket(ports, "chat.test");
    let mut download = request(ports, "chat.test", "/download", "Connection: close\r\n");
    let mut own = open_websocket(ports, "blog.example.org");
    let mut left = vec![world.port("blog")];
    for round in 0..rounds {
        blog.file("round", round.to_string()).commit("Again").push().succeeds();
        left.push(world.port("blog"));
    }
    assert!(is_ended(&mut own), "a websocket to the old release ends with it");
    let mut own = open_websocket(ports, "blog.example.org");
    for words in ["restart blog", "ps:scale blog web=2", "maintenance:on blog", "maintenance:off blog"] {
        run_verb(&world, words);
        assert_eq!(echo(&mut chat), "ping", "{words}");
    }
    let renewed =
        world.tool("piku-run").args(["certs", "renew", "blog", "--force"]).output().expect("piku-run");
    assert!(renewed.status.success(), "{renewed:?}");
    left.extend(world.ps("blog").iter().filter_map(|row| u16::try_from(row["port"].as_u64()?).ok()));
    run_verb(&world, "stop blog");
    assert!(is_ended(&mut own), "a websocket to a stopped app ends");
    assert_eq!(ports.get("blog.example.org", "/").status, 503);

    // An old worker of nginx may still send a request for the stopped app to its port.
    push_long(&world, "shop", "shop.test");
    assert!(!left.contains(&world.port("shop")), "{} is one of {left:?}", world.port("shop"));

    assert_eq!(echo(&mut chat), "ping", "after all changes");
    fs::write(world.app("chat").join("data/finish"), "").expect("a file");
    let mut all = Vec::new();
    download.read_to_end(&mut all).expect("the whole download");
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("the end"), "{} bytes", all.len());
}

#[test]
fn maintenance_restarts_nothing() {
    let (world, ports) = start_server(", drain: 1");
    push_long(&world, "chat", "chat.test");
    let blog = push_long(&world, "blog", "blog.test");
    let (mut chat, mut own) = (open_websocket(ports, "chat.test"), open_websocket(ports, "blog.test"));
    let pid = || world.ps("blog")[0]["pid"].clone();
    let before = pid();
    run_verb(&world, "maintenance:on blog");
    assert_eq!(ports.get("blog.test", "/").status, 503);
    assert_eq!((echo(&mut own), echo(&mut chat)), ("ping".to_owned(), "ping".to_owned()));
    run_verb(&world, "maintenance:off blog");
    for _ in 0..50 {
        assert_eq!(ports.get("blog.test", "/").body, "hello");
    }
    assert_eq!((pid(), echo(&mut own)), (before, "ping".to_owned()));
    // It outlives a deploy, and ends without a restart after it.
    run_verb(&world, "maintenance:on blog");
    blog.file("more", "").commit("Two").push().succeeds();
    assert_eq!(ports.get("blog.test", "/").status, 503);
    run_verb(&world, "maintenance:off blog");
    assert_eq!(ports.get("blog.test", "/").body, "hello");
}

#[test]
fn old_workers_are_limited() {
    let (world, ports) = start_server(", drain: 1, max_old_workers: 0");
    push_long(&world, "chat", "chat.test");
    let mut chat = open_websocket(ports, "chat.test");
    push_long(&world, "blog", "blog.test");
    assert!(is_ended(&mut chat), "its worker is one too many");
    let said = || fs::read_to_string(world.path("nginx.log")).unwrap_or_default();
    wait_for("the reason in the log", || said().contains("ended an old nginx worker with 1 connections"));
    // The next websocket is in a current worker.
    assert_eq!(echo(&mut open_websocket(ports, "chat.test")), "ping");
}

#[test]
fn changes_at_the_same_time_share_a_reload() {
    let (world, ports) = start_server(", drain: 1");
    let apps = ["blog", "chat", "shop"];
    for app in apps {
        let repo = world.repo(app);
        repo.serves(&format!("{app}\n")).file("ENV", format!("NGINX_SERVER_NAME={app}.test\n"));
        repo.commit("One").push().succeeds();
    }
    let file = |app: &str| fs::read_to_string(world.root().join(format!("nginx/apps/{app}.conf")));
    let before = apps.map(|app| file(app).expect("its file"));
    let supervisors = apps.map(|app| processes::find(&world.root(), &format!("supervise {app}"))[0]);
    let Some(trace) = CallTrace::begin(&supervisors, "kill", &world.path("strace")) else { return };

    // As another process that reloads nginx.
    let lock = fs::File::open(world.root().join("nginx/reload.lock")).expect("the lock");
    let lock = FileLock::try_exclusive(lock).expect("flock").expect("no reload");
    std::thread::scope(|scope| {
        for app in apps {
            let world = &world;
            scope.spawn(move || run_verb(world, &format!("restart {app}")));
        }
        wait_for("the files", || {
            apps.iter().zip(&before).all(|(app, text)| file(app).is_ok_and(|new| new != *text))
        });
        lock.unlock().expect("flock");
    });
    let calls = trace.end();
    let reloads = calls.iter().filter(|call| call.contains("SIGHUP")).count();
    assert_eq!(reloads, 1, "{calls:#?}");
    for app in apps {
        assert_eq!(ports.get(&format!("{app}.test"), "/").body, format!("{app}\n"));
    }
    assert!(!world.root().join("nginx/untold").exists(), "nothing is left to load");
}

#[test]
fn a_change_that_is_only_marked_is_loaded_later() {
    let (world, ports) = start_server(", drain: 1");
    let repo = world.repo("blog");
    repo.serves("blog\n").file("ENV", "NGINX_SERVER_NAME=blog.test\n").commit("One").push().succeeds();
    let nginx = world.root().join("nginx");
    let lock = |name: &str| {
        let file = fs::File::open(nginx.join(name)).expect("the lock");
        FileLock::exclusive(file).expect("flock")
    };
    let text = || fs::read_to_string(nginx.join("apps/blog.conf")).expect("its file");
    let before = text();
    let reload = lock("reload.lock");
    std::thread::scope(|scope| {
        scope.spawn(|| run_verb(&world, "restart blog"));
        wait_for("the file", || text() != before);
        // As another app, which marks its change before it writes it.
        let files = lock("lock");
        fs::write(nginx.join("untold"), "another").expect("the marker");
        reload.unlock().expect("flock");
        std::thread::sleep(Duration::from_millis(500));
        let shop =
            format!("server {{ listen 127.0.0.1:{}; server_name shop.test; return 418; }}\n", ports.http);
        fs::write(nginx.join("apps/shop.conf"), shop).expect("its file");
        files.unlock().expect("flock");
    });
    assert!(!nginx.join("untold").exists(), "nothing is left to load");
    assert_eq!(ports.get("shop.test", "/").status, 418);
    assert_eq!(ports.get("blog.test", "/").body, "blog\n");
}
