//! One health check: a connection to 127.0.0.1, one request, the head of the answer. It never blocks and holds no clock:
//! the loop waits for its descriptor, calls [`HealthProbe::ready`], and drops it when it takes too long.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

/// The longest head of an answer that is read.
const MAX_HEAD: usize = 64 * 1024;
/// The longest body that is waited for: a server that is cut off in the middle of a small page logs an error.
const MAX_BODY: usize = 256 * 1024;
/// More headers than this are more than any server sends.
const MAX_HEADERS: usize = 128;

/// How far a check has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeProgress {
    /// Nothing is known yet; wait for the descriptor.
    Waiting,
    /// It answered as a healthy app does.
    Alive,
    /// It answered with this status, which is not what a healthy app says.
    Http(u16),
    /// It accepted the connection and is not asked for more.
    Open,
    /// It accepted the connection, then closed it without a whole answer.
    Closed,
    /// It accepted the connection and said something that is not HTTP.
    NotHttp,
    /// Nobody listens.
    Refused,
    /// The check itself failed.
    Failed(String),
}

/// A check under way.
#[derive(Debug)]
pub struct HealthProbe {
    stream: Option<TcpStream>,
    state: ProbeState,
    /// What the caller takes for alive.
    any_status: bool,
    request: Vec<u8>,
    answer: Vec<u8>,
}

#[derive(Debug)]
enum ProbeState {
    Connecting,
    /// So many bytes of the request are sent.
    Sending(usize),
    Reading,
    Done(ProbeProgress),
}

impl HealthProbe {
    /// Begins a check of the app at `127.0.0.1:PORT`, asking for `host`. Without a path it asks for `/` and takes any
    /// complete status below 500; with one it wants 2xx or 3xx there.
    ///
    /// The connection may be made or refused at once: call [`HealthProbe::ready`] before waiting for the descriptor.
    #[must_use]
    pub fn start(port: u16, host: &str, path: Option<&str>) -> Self {
        Self {
            any_status: path.is_none(),
            request: request(host, path.unwrap_or("/")),
            ..Self::connect(port)
        }
    }

    /// Begins a check that is over once somebody has accepted the connection, with [`ProbeProgress::Open`].
    #[must_use]
    pub fn connect(port: u16) -> Self {
        let (stream, state) = match dial(port) {
            Ok(stream) => (Some(stream), ProbeState::Connecting),
            Err(Errno::ECONNREFUSED) => (None, ProbeState::Done(ProbeProgress::Refused)),
            Err(err) => (None, ProbeState::Done(ProbeProgress::Failed(err.desc().to_owned()))),
        };
        Self { stream, state, any_status: true, request: Vec::new(), answer: Vec::new() }
    }

    /// What to wait for; `None` when the check is done.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// Says whether it waits to read, and whether it waits to write. To be asked again after each [`HealthProbe::ready`].
    #[must_use]
    pub fn interest(&self) -> (bool, bool) {
        match self.state {
            ProbeState::Connecting | ProbeState::Sending(_) => (false, true),
            ProbeState::Reading => (true, false),
            ProbeState::Done(_) => (false, false),
        }
    }

    /// Whether somebody accepted the connection (or the kernel did in the name of one that listens). For the caller whose
    /// patience is over: a server that is connected and silent may be one that waits for another protocol.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match &self.state {
            ProbeState::Connecting => false,
            ProbeState::Sending(_) | ProbeState::Reading => true,
            ProbeState::Done(progress) => {
                !matches!(progress, ProbeProgress::Refused | ProbeProgress::Failed(_))
            }
        }
    }

    /// Goes on as far as it can without waiting. Once done it says the same each time, and its descriptor is closed.
    pub fn ready(&mut self) -> ProbeProgress {
        loop {
            match self.step() {
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

    /// What an error means depends on how far the check had come.
    fn failed(&self, err: &io::Error) -> ProbeProgress {
        match (&self.state, err.kind()) {
            (ProbeState::Connecting, io::ErrorKind::ConnectionRefused) => ProbeProgress::Refused,
            // Connected, and then hung up on: it listens and does not care for what we say.
            (
                ProbeState::Sending(_) | ProbeState::Reading,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted,
            ) => self.verdict().unwrap_or(ProbeProgress::Closed),
            _ => ProbeProgress::Failed(err.to_string()),
        }
    }

    /// One system call forward. `WouldBlock` when it has to wait.
    fn step(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        match &mut self.state {
            ProbeState::Connecting => {
                if let Some(err) = stream.take_error()? {
                    return Err(err);
                }
                match stream.peer_addr() {
                    // A port of the ephemeral range that nobody listens on can get connected to itself.
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
                match self.look() {
                    ProbeLook::More if count > 0 => {}
                    // Whether the page was whole is no question of the app being alive.
                    ProbeLook::More => {
                        let progress = self.verdict().unwrap_or(ProbeProgress::Closed);
                        self.finish(progress);
                    }
                    ProbeLook::Enough(progress) => self.finish(progress),
                }
            }
            ProbeState::Done(_) => {}
        }
        Ok(())
    }

    /// Whether what has come is enough to know.
    fn look(&mut self) -> ProbeLook {
        let head = match head(&self.answer) {
            Ok(Some(head)) => head,
            Ok(None) if self.answer.len() < MAX_HEAD => return ProbeLook::More,
            Ok(None) | Err(_) => return ProbeLook::Enough(ProbeProgress::NotHttp),
        };
        // An interim answer (100 Continue, 103 Early Hints) stands before the real one.
        if (100..200).contains(&head.status) && head.status != 101 {
            self.answer.drain(..head.length);
            return if self.answer.is_empty() { ProbeLook::More } else { self.look() };
        }
        match head.body {
            Some(body) if body <= MAX_BODY && self.answer.len() < head.length + body => ProbeLook::More,
            _ => ProbeLook::Enough(self.judge(head.status)),
        }
    }

    /// The verdict on an answer whose head is complete, whatever has come of its body.
    fn verdict(&self) -> Option<ProbeProgress> {
        let head = head(&self.answer).ok()??;
        Some(self.judge(head.status))
    }

    fn judge(&self, status: u16) -> ProbeProgress {
        let good = if self.any_status { 200..500 } else { 200..400 };
        let alive = good.contains(&status);
        if alive { ProbeProgress::Alive } else { ProbeProgress::Http(status) }
    }
}

enum ProbeLook {
    More,
    Enough(ProbeProgress),
}

struct ResponseHead {
    status: u16,
    length: usize,
    /// Content-Length, where it says one.
    body: Option<usize>,
}

/// The head of an answer; `None` while it is not complete.
fn head(answer: &[u8]) -> Result<Option<ResponseHead>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(answer)? else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let length_header = response.headers.iter().find(|one| one.name.eq_ignore_ascii_case("content-length"));
    let body = length_header.and_then(|one| std::str::from_utf8(one.value).ok()?.trim().parse().ok());
    // These have no body, whatever they say.
    let body = if matches!(status, 204 | 304) { None } else { body };
    Ok(Some(ResponseHead { status, length, body }))
}

fn dial(port: u16) -> Result<TcpStream, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    match connect(socket.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(TcpStream::from(socket)),
        Err(err) => Err(err),
    }
}

/// The request. The path comes from the app's own ENV and the host from its config: neither may break the request's lines.
fn request(host: &str, path: &str) -> Vec<u8> {
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
