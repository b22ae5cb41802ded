//! An app as nginx sees it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An app's process: it answers with what it was asked, and counts. `/fail` is read and never answered; `/upgrade` becomes
/// an echo; `/stream/TYPE` sends one piece, and another after the next request.
pub(crate) struct ServedApp {
    pub(crate) port: u16,
    pub(crate) requests: Arc<AtomicUsize>,
}

impl ServedApp {
    pub(crate) fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || while answer(&stream, &count).is_some() {});
            }
        });
        Self { port, requests }
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

pub(crate) fn answer(mut stream: &TcpStream, count: &AtomicUsize) -> Option<()> {
    let head = head(stream)?;
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
    let path = head.split(' ').nth(1)?;
    if path.starts_with("/fail") {
        return None;
    }
    let asks_for = |name: &str, value: &str| header(&head, name).as_deref() == Some(value);
    if path.starts_with("/upgrade") && asks_for("upgrade", "websocket") && asks_for("connection", "upgrade") {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
        write!(stream, "{switch}\r\nX-Path: {path}\r\n\r\n").ok()?;
        let mut message = [0; 4];
        stream.read_exact(&mut message).ok()?;
        stream.write_all(&message).ok()?;
        return None;
    }
    if let Some(kind) = path.strip_prefix("/stream/") {
        // The second piece follows the next request.
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
        write!(stream, "{head}7\r\ndata: 1\r\n").ok()?;
        for _ in 0..1000 {
            if count.load(Ordering::SeqCst) > number {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        return write!(stream, "7\r\ndata: 2\r\n0\r\n\r\n").ok();
    }
    let body = format!("answer {number}\n{head}");
    let cookie = if path.starts_with("/thumb/cookie") { "Set-Cookie: a=b\r\n" } else { "" };
    write!(stream, "HTTP/1.1 200 OK\r\n{cookie}Content-Length: {}\r\n\r\n{body}", body.len()).ok()
}

/// Up to the empty line, byte by byte: nothing of what follows is taken.
pub(crate) fn head(mut stream: &TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
