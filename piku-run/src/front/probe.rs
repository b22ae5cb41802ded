//! The check of a machine behind a front: a request to the app, as the front sends it.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use piku_layout::front_key::FrontKey;
use piku_procfile::render::app_values::AppValues;

/// Time for a connection. On a local network it takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the beginning of the response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProbeFailure {
    /// There is no way to the machine.
    Unreachable(String),
    /// It can be reached, and does not serve the app.
    Unhealthy(String),
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Unhealthy(why) => f.write_str(why),
        }
    }
}

pub(super) type ProbeResult = Result<(), ProbeFailure>;

/// Returns the path that is asked for: that of the app's own health check.
pub(super) fn checked_path(values: &AppValues) -> &str {
    let is_plain = |path: &&str| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    values.value("HEALTHCHECK").filter(is_plain).unwrap_or("/")
}

/// Asks the app on a machine. Any status below 500 is a good answer, except the one of an nginx that does not
/// know the key.
pub(super) fn probe_machine(address: SocketAddr, key: &FrontKey, path: &str) -> ProbeResult {
    let unreachable = |err: std::io::Error| ProbeFailure::Unreachable(err.to_string());
    let unhealthy = |err: std::io::Error| ProbeFailure::Unhealthy(format!("no answer: {err}"));
    let mut stream = match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
        Err(err) if err.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err(ProbeFailure::Unhealthy("nginx does not run there".to_owned()));
        }
        stream => stream.map_err(unreachable)?,
    };
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(unhealthy)?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(unhealthy)?;
    let host = key.host_name();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Piku-Front-{key}: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\
         User-Agent: piku\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(unhealthy)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).map_err(unhealthy)?;
    match read_status(&head) {
        Some(421) => Err(ProbeFailure::Unhealthy("the app is not there".to_owned())),
        Some(status) if status < 500 => Ok(()),
        Some(status) => Err(ProbeFailure::Unhealthy(format!("GET {path} answers {status}"))),
        None => Err(ProbeFailure::Unhealthy("it does not answer with HTTP".to_owned())),
    }
}

/// Returns the status in the first bytes of a response, `HTTP/1.1 200`.
fn read_status(head: &[u8; 12]) -> Option<u16> {
    let text = std::str::from_utf8(head).ok()?.strip_prefix("HTTP/1.")?;
    text.get(2..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_bytes() {
        assert_eq!(read_status(b"HTTP/1.1 204"), Some(204));
        assert_eq!(read_status(b"HTTP/1.0 503"), Some(503));
        assert_eq!(read_status(b"SSH-2.0-Open"), None);
        assert_eq!(read_status(b"HTTP/1.1 2x4"), None);
    }

    #[test]
    fn the_path_is_that_of_the_health_check() {
        let path = |value: &str| {
            let mut values = AppValues::default();
            values.set("HEALTHCHECK", value, "ENV");
            checked_path(&values).to_owned()
        };
        assert_eq!(path("/health?x=1"), "/health?x=1");
        assert_eq!([path("tcp"), path("/a b"), path("/a\r\nX: y"), path("")], ["/", "/", "/", "/"]);
    }
}
