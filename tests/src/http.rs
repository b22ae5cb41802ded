//! A minimal HTTP client: one request, the whole response.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Returns status and body of `http://127.0.0.1:PORT/PATH`; fails without a response within five seconds.
///
/// # Errors
/// Fails if nothing listens there, or the response is not HTTP.
pub fn get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    request(port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
}

/// Returns status and body of the response to a text that is posted to `http://127.0.0.1:PORT/PATH`.
///
/// # Errors
/// As [`get`].
pub fn post(port: u16, path: &str, text: &str) -> std::io::Result<(u16, String)> {
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    request(port, &(head + text))
}

fn request(port: u16, text: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    status.map(|status| (status, body)).ok_or_else(|| std::io::Error::other(format!("not HTTP: {answer:?}")))
}
