//! The check of a machine behind a front: a request to the app, as the front sends it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use piku_layout::front_key::FrontKey;
use piku_procfile::render::app_values::AppValues;

/// Time for a connection. On a local network it takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the beginning of the response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which nginx itself is asked, for which it asks no app.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Time for its response.
const NGINX_TIMEOUT: Duration = Duration::from_secs(3);
/// Status of nginx for a front that it does not know.
const UNKNOWN_FRONT: u16 = 421;
/// Bytes of a response up to its status, `HTTP/1.1 200`.
const HEAD: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProbeFailure {
    /// There is no way to the machine, or it accepts connections and answers none: its connections have no other end
    /// any more.
    Unreachable(String),
    /// The machine accepts no connection, or its name has no address.
    Refused(String),
    /// It can be reached, and does not serve the app.
    Unhealthy(String),
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Refused(why) | Self::Unhealthy(why) => f.write_str(why),
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
    let more = format!("X-Piku-Front-{key}: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n");
    let mut stream = connect(address).map_err(|err| classify_connect_error(&err))?;
    let unhealthy = |err: io::Error| {
        ProbeFailure::Unhealthy(match err.kind() {
            io::ErrorKind::WouldBlock => {
                format!("GET {path} has no answer within {} s", ANSWER_TIMEOUT.as_secs())
            }
            _ => format!("no answer: {err}"),
        })
    };
    send_request(&mut stream, path, &key.host_name(), &more).map_err(unhealthy)?;
    if is_silent(&stream, FIRST_WAIT).map_err(unhealthy)? && !does_nginx_answer(address) {
        return Err(ProbeFailure::Unreachable("it accepts connections and answers none".to_owned()));
    }
    let head = read_head(&mut stream, ANSWER_TIMEOUT.saturating_sub(FIRST_WAIT)).map_err(unhealthy)?;
    match read_status(&head) {
        Some(UNKNOWN_FRONT) => Err(ProbeFailure::Unhealthy("the app is not there".to_owned())),
        Some(status) if status < 500 => Ok(()),
        Some(status) => Err(ProbeFailure::Unhealthy(format!("GET {path} answers {status}"))),
        None => Err(ProbeFailure::Unhealthy("it does not answer with HTTP".to_owned())),
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
}

fn send_request(stream: &mut TcpStream, path: &str, host: &str, more: &str) -> io::Result<()> {
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}User-Agent: piku\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())
}

/// Returns true if nothing comes within this time. A signal to another thread can interrupt a wait too, also one
/// that is ignored.
fn is_silent(stream: &TcpStream, patience: Duration) -> io::Result<bool> {
    let since = Instant::now();
    loop {
        let left = patience.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Ok(true);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.peek(&mut [0]) {
            Ok(_) => return Ok(false),
            Err(err) if matches!(err.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(err) => return Err(err),
        }
    }
}

/// Returns the first bytes of a response, all of which have to come within this time.
fn read_head(stream: &mut TcpStream, patience: Duration) -> io::Result<[u8; HEAD]> {
    let since = Instant::now();
    let mut head = [0; HEAD];
    let mut length = 0;
    while length < HEAD {
        let left = patience.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut head[length..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => length += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(head)
}

/// Returns true if the nginx there refuses a front that it does not know. A slow app does not hold it up; on a
/// machine that hangs, the kernel alone accepts connections.
fn does_nginx_answer(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = connect(address)?;
        send_request(&mut stream, "/", &FrontKey::from_bytes([0; 16]).host_name(), "")?;
        read_head(&mut stream, NGINX_TIMEOUT)
    };
    ask().is_ok()
}

fn classify_connect_error(err: &io::Error) -> ProbeFailure {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match err.kind() {
        ConnectionRefused => ProbeFailure::Refused("nginx does not run there".to_owned()),
        TimedOut | HostUnreachable | NetworkUnreachable => ProbeFailure::Unreachable(err.to_string()),
        _ => ProbeFailure::Refused(err.to_string()),
    }
}

/// Returns the result of the address that is the best one of a machine: one that answers well, or else one that
/// answers at all. `None` without addresses.
pub(super) fn choose_result(
    results: impl Iterator<Item = (SocketAddr, ProbeResult)>,
) -> Option<(SocketAddr, ProbeResult)> {
    let mut best: Option<(SocketAddr, ProbeResult)> = None;
    for (address, result) in results {
        let is_good = result.is_ok();
        let answers = |result: &ProbeResult| matches!(result, Err(ProbeFailure::Unhealthy(_)));
        if is_good || best.as_ref().is_none_or(|(_, best)| !answers(best) && answers(&result)) {
            best = Some((address, result));
        }
        if is_good {
            break;
        }
    }
    best
}

/// Returns the status in the first bytes of a response.
fn read_status(head: &[u8; HEAD]) -> Option<u16> {
    let text = std::str::from_utf8(head).ok()?.strip_prefix("HTTP/1.")?;
    text.get(2..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::process::signals::interrupt;

    #[test]
    fn the_status_is_read_from_the_first_bytes() {
        assert_eq!(read_status(b"HTTP/1.1 204"), Some(204));
        assert_eq!(read_status(b"HTTP/1.0 503"), Some(503));
        assert_eq!(read_status(b"SSH-2.0-Open"), None);
        assert_eq!(read_status(b"HTTP/1.1 2x4"), None);
    }

    /// Accepts two connections and answers those for this host name, if any.
    fn answer_only(listener: &TcpListener, name: &'static str) {
        let mut open = Vec::new();
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            if !name.is_empty() && String::from_utf8_lossy(&request[..read]).contains(name) {
                stream.write_all(b"HTTP/1.1 421 \r\n\r\n").unwrap();
            }
            open.push(stream);
        }
        // Open until the probe has ended.
        for mut stream in open {
            let _ = stream.read(&mut [0]);
        }
    }

    #[test]
    fn a_slow_app_is_no_machine_that_hangs() {
        let key = FrontKey::from_bytes([7; 16]);
        let probe = |name: &'static str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            // Not waited for: a probe that asks once leaves it without the second connection.
            thread::spawn(move || answer_only(&listener, name));
            probe_machine(address, &key, "/")
        };
        assert!(matches!(probe(""), Err(ProbeFailure::Unreachable(_))));
        // The one of the unknown front, not of this one.
        assert!(matches!(probe("Host: 00000000"), Err(ProbeFailure::Unhealthy(_))));
    }

    #[test]
    fn a_signal_does_not_end_the_wait_for_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect(listener.local_addr().unwrap()).unwrap();
        let waiting = thread::spawn(move || is_silent(&stream, Duration::from_millis(500)));
        while !waiting.is_finished() {
            interrupt(&waiting);
            thread::sleep(Duration::from_millis(20));
        }
        assert!(waiting.join().unwrap().unwrap());
    }

    #[test]
    fn a_response_that_trickles_in_holds_up_no_check() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sender = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Longer in all than any pause of the reader before it looks at the clock.
            for byte in b"HTTP/1.1 200 OK" {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(300));
            }
        });
        let mut stream = connect(address).unwrap();
        let err = read_head(&mut stream, Duration::from_millis(400)).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::WouldBlock);
        drop(stream);
        sender.join().unwrap();
    }

    #[test]
    fn an_address_that_answers_is_preferred() {
        let bad = |text: &str| match text {
            "refused" => Err(ProbeFailure::Refused(text.to_owned())),
            "lost" => Err(ProbeFailure::Unreachable(text.to_owned())),
            "503" => Err(ProbeFailure::Unhealthy(text.to_owned())),
            _ => Ok(()),
        };
        let chosen = |texts: &str| {
            let results = texts.split(' ').zip(1..).map(|(text, port)| {
                assert_ne!(text, "unasked");
                (SocketAddr::from(([10, 0, 0, 1], port)), bad(text))
            });
            choose_result(results).unwrap().0.port()
        };
        assert_eq!(chosen("503 refused lost"), 1);
        assert_eq!(chosen("lost 503 503"), 2);
        assert_eq!(chosen("lost refused"), 1);
        assert_eq!(chosen("503 good unasked"), 2);
        assert_eq!(choose_result(std::iter::empty()), None);
    }

    #[test]
    fn only_a_machine_without_a_way_to_it_is_unreachable() {
        let of = |kind: io::ErrorKind| classify_connect_error(&kind.into());
        assert!(matches!(of(io::ErrorKind::TimedOut), ProbeFailure::Unreachable(_)));
        assert!(matches!(of(io::ErrorKind::HostUnreachable), ProbeFailure::Unreachable(_)));
        assert!(matches!(of(io::ErrorKind::ConnectionRefused), ProbeFailure::Refused(_)));
        assert!(matches!(of(io::ErrorKind::PermissionDenied), ProbeFailure::Refused(_)));
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
