//! An upgrade of piku while its nginx serves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::nginx::Ports;
use piku_tests::tools;
use piku_tests::world::{World, wait_for};

/// Takes each connection as a websocket and sends back what it gets.
const ECHO: &str = "#!/usr/bin/env python3\n\
    import asyncio, os\n\
    async def handle(reader, writer):\n\
    \x20   head = await reader.readuntil(b'\\r\\n\\r\\n')\n\
    \x20   if b'websocket' in head:\n\
    \x20       writer.write(b'HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n')\n\
    \x20       while data := await reader.read(100):\n\
    \x20           writer.write(data)\n\
    \x20   writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n')\n\
    \x20   writer.close()\n\
    async def main():\n\
    \x20   server = await asyncio.start_server(handle, '127.0.0.1', int(os.environ['PORT']))\n\
    \x20   await server.serve_forever()\n\
    asyncio.run(main())\n";

/// A connection to the app that stays open.
fn open_echo(ports: Ports) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", ports.http)).expect("nginx listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n";
    write!(stream, "GET / HTTP/1.1\r\nHost: echo.test\r\n{head}\r\n").expect("nginx reads");
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        stream.read_exact(&mut one).expect("nginx answers");
        got.extend(one);
    }
    assert!(got.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&got));
    stream
}

fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut back).is_ok() && &back == b"ping"
}

/// Puts what `make` writes in place of the program, as dpkg does.
fn replace(program: &Path, make: impl FnOnce(&Path)) {
    let new = program.with_extension("dpkg-new");
    make(&new);
    fs::rename(&new, program).expect("a new program");
}

#[test]
fn nginx_service_takes_up_new_program_without_losing_connections() {
    let ports = Ports::free();
    let mut world = World::with_settings(&ports.settings(""));
    let program = world.path("piku-run");
    tools::copy("piku-run", &program);
    world.start_nginx_by(&program);
    let repo = world.repo("echo");
    repo.program("serve", ECHO).file("Procfile", "web: ./serve\n");
    repo.file("ENV", "NGINX_SERVER_NAME=echo.test\n").commit("Echo").push().succeeds();
    let mut stream = open_echo(ports);
    assert!(echoes(&mut stream));
    let service = Pid::from_raw(world.nginx_pid());
    let running = || fs::read_link(format!("/proc/{service}/exe")).expect("the service runs");
    let master = || fs::read_to_string(world.root().join("nginx/nginx.pid")).expect("nginx runs");
    let first = master();

    // Files of another version name a variable that the shared settings of this one lack.
    let conf = world.root().join("nginx/apps/echo.conf");
    let text = fs::read_to_string(&conf).expect("a site");
    let other =
        text.replacen("    server_name ", "    set $other_version $piku_former;\n    server_name ", 1);
    assert_ne!(other, text);
    fs::write(&conf, other).expect("a site");
    replace(&program, |new| tools::copy("piku-run", new));
    assert_ne!(running(), program, "the old file is gone");
    kill(service, Signal::SIGHUP).expect("the service runs");
    wait_for("the new program", || running() == program);
    wait_for("the new program serves", || world.nginx_log().matches("nginx serves").count() == 2);
    assert_eq!(master(), first, "nginx is the same");
    assert!(!world.nginx_log().contains("is left out"), "{}", world.nginx_log());
    wait_for("a site of this version", || fs::read_to_string(&conf).is_ok_and(|now| now == text));
    assert!(echoes(&mut stream), "{}", world.nginx_log());
    assert_eq!(ports.get("echo.test", "/").status, 200);
    let second = world.tool("piku-run").arg("nginx").output().expect("piku-run runs");
    assert_eq!(second.status.code(), Some(75), "the lock is held");

    // A program that does not run here changes nothing.
    replace(&program, |new| {
        tools::copy("piku-run", new);
        fs::write(new, "not for this machine").expect("a file");
    });
    kill(service, Signal::SIGHUP).expect("the service runs");
    wait_for("a message", || world.nginx_log().contains("cannot run the new"));
    assert_eq!(master(), first);
    assert!(echoes(&mut stream), "{}", world.nginx_log());
    assert_eq!(ports.get("echo.test", "/").status, 200);
    // Otherwise nginx waits for it.
    drop(stream);
    world.end_nginx(Signal::SIGTERM);
}
