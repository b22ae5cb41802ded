//! piku's nginx in a test: its settings, and a browser's side of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::ports::free_port;
use crate::world::World;

/// A world whose nginx runs, with these settings of nginx as well.
///
/// # Panics
/// When it does not come up.
#[must_use]
pub fn served(more: &str) -> (World, Ports) {
    let ports = Ports::free();
    let mut world = World::with_settings(&ports.settings(more));
    world.start_nginx();
    (world, ports)
}

/// Where it listens, for `host.yaml`.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// For HTTP.
    pub http: u16,
    /// For HTTPS.
    pub https: u16,
}

impl Ports {
    /// Two that no other test is given.
    #[must_use]
    pub fn free() -> Self {
        Self { http: free_port(), https: free_port() }
    }

    /// The lines of `host.yaml`, with these settings of nginx as well.
    #[must_use]
    pub fn settings(self, more: &str) -> String {
        let Self { http, https } = self;
        format!("nginx: {{http: '127.0.0.1:{http}', https: '127.0.0.1:{https}', ipv6: false{more}}}\n")
    }

    /// What `http://HOST PATH` answers, whole.
    ///
    /// # Panics
    /// When nginx does not answer.
    #[must_use]
    pub fn get(self, host: &str, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// Sends a request and reads to the end.
    ///
    /// # Panics
    /// When nginx does not answer.
    #[must_use]
    pub fn send(self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).expect("nginx listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("nginx reads");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("nginx answers");
        Answer::read(&all)
    }

    /// The same over HTTPS, by curl; whoever vouches for the certificate is in `authority`, nothing for whoever.
    ///
    /// # Panics
    /// When curl gets no answer.
    #[must_use]
    pub fn get_securely(self, host: &str, path: &str, authority: Option<&Path>) -> Answer {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-S", "-i", "--http1.1", "--resolve", &format!("{host}:{}:127.0.0.1", self.https)]);
        match authority {
            Some(authority) => curl.arg("--cacert").arg(authority),
            None => curl.arg("--insecure"),
        };
        let out = curl.arg(format!("https://{host}:{}{path}", self.https)).output().expect("curl");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Answer::read(&out.stdout)
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its status line and headers.
    pub head: String,
    /// What follows them.
    pub body: String,
}

impl Answer {
    fn read(all: &[u8]) -> Self {
        let all = String::from_utf8_lossy(all);
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not HTTP: {all:?}"));
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }
}
