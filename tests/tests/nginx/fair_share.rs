//! The share that one app may take of the nginx that all apps share.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use piku_tests::nginx::{Ports, start_server};

/// Takes every websocket and keeps it.
const SOCKETS: &str = "#!/usr/bin/env python3\n\
    import asyncio, os\n\
    async def handle(reader, writer):\n\
    \x20   head = await reader.readuntil(b'\\r\\n\\r\\n')\n\
    \x20   if b'websocket' in head:\n\
    \x20       writer.write(b'HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n')\n\
    \x20       await asyncio.sleep(600)\n\
    \x20   writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n')\n\
    \x20   await writer.drain()\n\
    \x20   writer.close()\n\
    async def main():\n\
    \x20   server = await asyncio.start_server(handle, '127.0.0.1', int(os.environ['PORT']), backlog=512)\n\
    \x20   await server.serve_forever()\n\
    asyncio.run(main())\n";

/// Asks for a websocket; returns the status, and the connection, which is kept.
fn open_socket(ports: Ports, host: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(("127.0.0.1", ports.http)).expect("nginx listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n";
    write!(stream, "GET /ws HTTP/1.1\r\nHost: {host}\r\n{head}\r\n").expect("nginx reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("nginx answers");
    let status = String::from_utf8_lossy(&answer[9..]).parse().expect("a status");
    (status, stream)
}

#[test]
fn websockets_of_one_app_are_limited() {
    // Fewer than the test opens, as a thousand would be on a larger machine.
    let (world, ports) = start_server(", connections: 256");
    let many = world.repo("many");
    many.program("serve", SOCKETS).file("Procfile", "web: ./serve\n");
    many.file("ENV", "NGINX_SERVER_NAME=many.test\n").commit("Many").push().succeeds();
    let other = world.repo("other");
    other
        .serves("still here\n")
        .file("ENV", "NGINX_SERVER_NAME=other.test\n")
        .commit("Other")
        .push()
        .succeeds();

    let sockets: Vec<(u16, TcpStream)> = (0..300).map(|_| open_socket(ports, "many.test")).collect();
    let open = sockets.iter().filter(|(status, _)| *status == 101).count();
    assert_eq!(open, 64, "its share");
    assert!(sockets.iter().all(|(status, _)| matches!(status, 101 | 503)));
    for _ in 0..20 {
        assert_eq!(ports.get("other.test", "/").body, "still here\n");
    }
    // The app that is over its share is back as soon as it is not.
    drop(sockets);
    piku_tests::world::wait_for("the app answers again", || ports.get("many.test", "/").status == 200);
}
