//! piku's nginx in a test: its settings, and requests to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::ports::free_port;
use crate::world::World;

/// Starts a server with nginx; `more` is added to the nginx settings.
///
/// # Panics
/// Panics if nginx does not start.
#[must_use]
pub fn start_server(more: &str) -> (World, Ports) {
    start_server_with("", more)
}

/// Does the same, with lines for `host.yaml` in front of the nginx settings.
///
/// # Panics
/// Panics if nginx does not start.
#[must_use]
pub fn start_server_with(lines: &str, more: &str) -> (World, Ports) {
    let ports = Ports::free();
    let mut world = World::with_settings(&format!("{lines}{}", ports.settings(more)));
    world.start_nginx();
    (world, ports)
}

/// Ports that nginx listens on, for `host.yaml`.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Port of HTTP.
    pub http: u16,
    /// Port of HTTPS.
    pub https: u16,
}

impl Ports {
    /// Reserves two ports that no other test is given.
    #[must_use]
    pub fn free() -> Self {
        Self { http: free_port(), https: free_port() }
    }

    /// Returns the lines for `host.yaml`, with `more` settings of nginx.
    #[must_use]
    pub fn settings(self, more: &str) -> String {
        let Self { http, https } = self;
        format!("nginx: {{http: '127.0.0.1:{http}', https: '127.0.0.1:{https}', ipv6: false{more}}}\n")
    }

    /// Returns the whole response to GET `http://HOST/PATH`.
    ///
    /// # Panics
    /// Panics if nginx does not answer.
    #[must_use]
    pub fn get(self, host: &str, path: &str) -> HttpResponse {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// Sends a request and reads to the end.
    ///
    /// # Panics
    /// Panics if nginx does not answer.
    #[must_use]
    pub fn send(self, request: &str) -> HttpResponse {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).expect("nginx listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("nginx reads");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("nginx answers");
        HttpResponse::read(&all)
    }

    /// Does the same over HTTPS by curl, verifying the certificate against `authority` if given.
    ///
    /// # Panics
    /// Panics if curl gets no answer.
    #[must_use]
    pub fn get_securely(self, host: &str, path: &str, authority: Option<&Path>) -> HttpResponse {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-S", "-i", "--http1.1", "--resolve", &format!("{host}:{}:127.0.0.1", self.https)]);
        match authority {
            Some(authority) => curl.arg("--cacert").arg(authority),
            None => curl.arg("--insecure"),
        };
        let out = curl.arg(format!("https://{host}:{}{path}", self.https)).output().expect("curl");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        HttpResponse::read(&out.stdout)
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Everything after the headers.
    pub body: String,
}

impl HttpResponse {
    fn read(all: &[u8]) -> Self {
        let all = String::from_utf8_lossy(all);
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not HTTP: {all:?}"));
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }
}
