//! A health check: one connection to 127.0.0.1, one request, the head of the response. It never blocks and
//! reads no clock: the event loop waits for its descriptor, calls [`HealthProbe::advance`] and drops it after
//! the time limit.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use crate::core::ClientErrorReply;

/// Largest head of a response that is read.
const MAX_HEAD: usize = 64 * 1024;
/// Largest body that is read: a server whose small page is cut off logs an error.
const MAX_BODY: usize = 256 * 1024;
/// Largest number of headers.
const MAX_HEADERS: usize = 128;

/// Words of Django's log and of its pages, with and without `DEBUG`, about a host name that is not in
/// `ALLOWED_HOSTS`.
const DISALLOWED_HOST: [&str; 3] = ["DisallowedHost", "ALLOWED_HOSTS", "<h1>Bad Request (400)</h1>"];

/// Progress of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeProgress {
    /// No result yet; wait for the descriptor.
    Waiting,
    /// The response has an accepted status.
    Alive,
    /// The response has a status from 400 to 499, which is accepted.
    ClientError(ClientErrorReply),
    /// The response has this status, which is not accepted.
    Http(u16),
    /// The connection was accepted, and the check asks no more.
    Open,
    /// The connection was closed before the response was complete.
    Closed,
    /// The response is not HTTP.
    NotHttp,
    /// The connection was refused.
    Refused,
    /// The check itself failed, for this reason.
    Failed(String),
}

/// A check in progress.
#[derive(Debug)]
pub(crate) struct HealthProbe {
    stream: Option<TcpStream>,
    state: ProbeState,
    /// Every status below 500 is accepted, not only 2xx and 3xx.
    any_status: bool,
    request: Vec<u8>,
    answer: Vec<u8>,
}

#[derive(Debug)]
enum ProbeState {
    Connecting,
    /// Number of bytes of the request that are sent.
    Sending(usize),
    Reading,
    Done(ProbeProgress),
}

impl HealthProbe {
    /// Starts a check of the app at `127.0.0.1:PORT` with `host` as host name. Without a path it requests
    /// `/` and accepts any complete response with a status below 500; with one it requires 2xx or 3xx.
    ///
    /// The connection may be made or refused at once: call [`HealthProbe::advance`] before waiting for the
    /// descriptor.
    #[must_use]
    pub(crate) fn start(port: u16, host: &str, path: Option<&str>) -> Self {
        Self {
            any_status: path.is_none(),
            request: format_request(host, path.unwrap_or("/")),
            ..Self::connect(port)
        }
    }

    /// Starts a check that ends with [`ProbeProgress::Open`] once the connection is accepted.
    #[must_use]
    pub(crate) fn connect(port: u16) -> Self {
        let (stream, state) = match open_connection(port) {
            Ok(stream) => (Some(stream), ProbeState::Connecting),
            Err(Errno::ECONNREFUSED) => (None, ProbeState::Done(ProbeProgress::Refused)),
            Err(err) => (None, ProbeState::Done(ProbeProgress::Failed(err.desc().to_owned()))),
        };
        Self { stream, state, any_status: true, request: Vec::new(), answer: Vec::new() }
    }

    /// Returns the descriptor to wait for; `None` if the check is done.
    #[must_use]
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// Returns whether it waits for reading and for writing. Valid until the next call of
    /// [`HealthProbe::advance`].
    #[must_use]
    pub(crate) fn interest(&self) -> (bool, bool) {
        match self.state {
            ProbeState::Connecting | ProbeState::Sending(_) => (false, true),
            ProbeState::Reading => (true, false),
            ProbeState::Done(_) => (false, false),
        }
    }

    /// Advances the check as far as possible without blocking. A finished check returns its result each
    /// time.
    pub(crate) fn advance(&mut self) -> ProbeProgress {
        loop {
            match self.take_step() {
                Ok(()) => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return ProbeProgress::Waiting,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => {
                    let progress = self.failed(&err);
                    self.finish(progress);
                }
            }
            if let ProbeState::Done(progress) = &self.state {
                return progress.clone();
            }
        }
    }

    fn finish(&mut self, progress: ProbeProgress) {
        self.stream = None;
        self.request = Vec::new();
        self.answer = Vec::new();
        self.state = ProbeState::Done(progress);
    }

    /// Returns the result for an I/O error, which depends on the stage of the check.
    fn failed(&self, err: &io::Error) -> ProbeProgress {
        match (&self.state, err.kind()) {
            (ProbeState::Connecting, io::ErrorKind::ConnectionRefused) => ProbeProgress::Refused,
            // Connected, then disconnected: it listens and rejects the request.
            (
                ProbeState::Sending(_) | ProbeState::Reading,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted,
            ) => self.outcome_of_error().unwrap_or(ProbeProgress::Closed),
            _ => ProbeProgress::Failed(err.to_string()),
        }
    }

    /// Performs one system call; `WouldBlock` if it has to wait.
    fn take_step(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        match &mut self.state {
            ProbeState::Connecting => {
                if let Some(err) = stream.take_error()? {
                    return Err(err);
                }
                match stream.peer_addr() {
                    // A socket can connect to itself on an ephemeral port on which nothing listens.
                    Ok(peer) if stream.local_addr()? == peer => self.finish(ProbeProgress::Refused),
                    Ok(_) if self.request.is_empty() => self.finish(ProbeProgress::Open),
                    Ok(_) => self.state = ProbeState::Sending(0),
                    Err(err) if err.kind() == io::ErrorKind::NotConnected => {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    Err(err) => return Err(err),
                }
            }
            ProbeState::Sending(sent) => {
                *sent += stream.write(&self.request[*sent..])?;
                if *sent == self.request.len() {
                    self.state = ProbeState::Reading;
                }
            }
            ProbeState::Reading => {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer)?;
                self.answer.extend_from_slice(&buffer[..count]);
                match self.evaluate_response() {
                    ProbeLook::More if count > 0 => {}
                    // An incomplete page does not matter to the health of the app.
                    ProbeLook::More => {
                        let progress = self.outcome_of_error().unwrap_or(ProbeProgress::Closed);
                        self.finish(progress);
                    }
                    ProbeLook::Enough(progress) => self.finish(progress),
                }
            }
            ProbeState::Done(_) => {}
        }
        Ok(())
    }

    /// Evaluates the bytes received so far.
    fn evaluate_response(&mut self) -> ProbeLook {
        let head = match parse_head(&self.answer) {
            Ok(Some(head)) => head,
            Ok(None) if self.answer.len() < MAX_HEAD => return ProbeLook::More,
            Ok(None) | Err(_) => return ProbeLook::Enough(ProbeProgress::NotHttp),
        };
        // An interim response (100 Continue, 103 Early Hints) precedes the final one.
        if (100..200).contains(&head.status) && head.status != 101 {
            self.answer.drain(..head.length);
            return if self.answer.is_empty() { ProbeLook::More } else { self.evaluate_response() };
        }
        match head.body {
            Some(body) if body <= MAX_BODY && self.answer.len() < head.length + body => ProbeLook::More,
            _ => ProbeLook::Enough(self.judge_response(head.status)),
        }
    }

    /// Returns the result for a response whose head is complete, even if its body is not.
    fn outcome_of_error(&self) -> Option<ProbeProgress> {
        let head = parse_head(&self.answer).ok()??;
        Some(self.judge_response(head.status))
    }

    fn judge_response(&self, status: u16) -> ProbeProgress {
        match status {
            200..400 => ProbeProgress::Alive,
            400..500 if self.any_status => ProbeProgress::ClientError(ClientErrorReply {
                status,
                refuses_host: status == 400 && is_about_host(&String::from_utf8_lossy(&self.answer)),
            }),
            _ => ProbeProgress::Http(status),
        }
    }
}

/// Returns whether the text shows that Django refuses the host name of a request.
pub(crate) fn is_about_host(text: &str) -> bool {
    DISALLOWED_HOST.iter().any(|word| text.contains(word))
}

enum ProbeLook {
    More,
    Enough(ProbeProgress),
}

struct ResponseHead {
    status: u16,
    length: usize,
    /// Value of Content-Length.
    body: Option<usize>,
}

/// Parses the head of a response; `None` while it is incomplete.
fn parse_head(answer: &[u8]) -> Result<Option<ResponseHead>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(answer)? else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let length_header = response.headers.iter().find(|one| one.name.eq_ignore_ascii_case("content-length"));
    let body = length_header.and_then(|one| std::str::from_utf8(one.value).ok()?.trim().parse().ok());
    // Responses with these statuses have no body.
    let body = if matches!(status, 204 | 304) { None } else { body };
    Ok(Some(ResponseHead { status, length, body }))
}

fn open_connection(port: u16) -> Result<TcpStream, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    match connect(socket.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(TcpStream::from(socket)),
        Err(err) => Err(err),
    }
}

/// Returns the request. The path comes from the app's `ENV` and the host from its config; neither may break
/// out of its line.
fn format_request(host: &str, path: &str) -> Vec<u8> {
    let mut target = String::from(if path.starts_with('/') { "" } else { "/" });
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            target.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
    let host: String = host.chars().filter(char::is_ascii_graphic).collect();
    let host = if host.is_empty() { "localhost" } else { &host };
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: piku\r\nAccept: */*\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests;
