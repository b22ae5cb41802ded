//! Unix sockets that exchange lines of JSON with processes of the same user only.

#![expect(clippy::disallowed_methods, reason = "sockets in the folder of what runs, which only piku writes")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use nix::unistd::geteuid;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use serde::{Serialize, de::DeserializeOwned};

use crate::process::wait::WaitPause;

/// Largest request, and largest amount of unread responses.
const MAX_LINE: usize = 64 * 1024;
const MAX_UNREAD: usize = 4 * 1024 * 1024;
/// Time limit for a client to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Time limit for a client to read any of the queued responses.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Pause after an accept that failed because no descriptor was free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// A listening socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    socket: UnixListener,
    path: PathBuf,
    pause: WaitPause,
}

impl ControlSocket {
    /// Binds the socket, replacing an existing one. The caller holds the lock that allows it.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let socket = through_folder(path, |short| UnixListener::bind(short))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_owned(), pause: WaitPause::default() })
    }

    /// Accepts the next client; `None` if none waits. Clients of other users are disconnected.
    pub(crate) fn accept(&mut self) -> Option<ClientConnection> {
        loop {
            let stream = match self.socket.accept() {
                Ok((stream, _)) => stream,
                Err(err) if err.kind() == ErrorKind::WouldBlock => return None,
                Err(err) if matches!(err.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {
                    continue;
                }
                // No free descriptor or memory; the clients stay in the queue.
                Err(_) => {
                    self.pause.begin(ACCEPT_PAUSE);
                    return None;
                }
            };
            let same = getsockopt(&stream, PeerCredentials)
                .is_ok_and(|peer| peer.uid() == geteuid().as_raw() || peer.uid() == 0);
            if same && stream.set_nonblocking(true).is_ok() {
                return Some(ClientConnection::new(stream));
            }
        }
    }

    /// Returns the remaining pause; `None` if clients may be accepted.
    pub(crate) fn paused(&self) -> Option<Duration> {
        self.pause.left()
    }

    /// Removes the path of the socket. Clients in the queue can still be accepted.
    pub(crate) fn remove_path(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Calls `open` with a short path of the socket: a socket address holds 107 bytes, a path may be longer.
pub(crate) fn through_folder<T>(path: &Path, open: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return open(path) };
    let folder = File::open(folder)?;
    open(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

/// Server side of a connection, which never blocks. It carries one request, then responses up to the last.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    progress: RequestProgress,
    /// Lines that were left out since the last one, because the client reads too slowly.
    skipped: usize,
    /// Deadline for the client's next step.
    deadline: Option<Instant>,
}

/// Progress of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RequestProgress {
    /// The request is incomplete.
    Asking,
    /// Responses follow.
    Answering,
    /// All responses are queued.
    Answered,
    Gone,
}

impl ClientConnection {
    fn new(stream: UnixStream) -> Self {
        let deadline = Some(Instant::now() + REQUEST_TIME);
        let progress = RequestProgress::Asking;
        Self { stream, input: Vec::new(), output: Vec::new(), progress, skipped: 0, deadline }
    }

    /// Returns the request once it is complete. After an error or the end of the stream the connection [is
    /// gone](Self::is_gone).
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Option<Result<T, String>> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break self.progress = RequestProgress::Gone,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(err) if err.kind() == ErrorKind::WouldBlock => break,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(_) => break self.progress = RequestProgress::Gone,
            }
            if self.input.len() > MAX_LINE {
                break self.progress = RequestProgress::Gone;
            }
        }
        if self.progress != RequestProgress::Asking {
            return None;
        }
        let end = self.input.iter().position(|b| *b == b'\n')?;
        let line: Vec<u8> = self.input.drain(..=end).collect();
        self.progress = RequestProgress::Answering;
        self.deadline = None;
        Some(serde_json::from_slice(&line).map_err(|err| format!("bad request: {err}")))
    }

    /// Queues a line and writes as much as possible.
    pub(crate) fn send(&mut self, reply: &impl Serialize) {
        if self.progress >= RequestProgress::Answered {
            return;
        }
        // Writes to memory, and the types have string keys: cannot fail.
        let _ = serde_json::to_writer(&mut self.output, reply);
        self.output.push(b'\n');
        self.flush();
    }

    /// Returns whether the client has read enough for one more line that may be left out; counts the line as left
    /// out if not. A program that prints faster than the client reads must not end the connection.
    pub(crate) fn has_room(&mut self) -> bool {
        self.flush();
        let has_room = self.output.len() < MAX_UNREAD / 2;
        self.skipped += usize::from(!has_room);
        has_room
    }

    /// Returns how many lines were left out since the last call.
    pub(crate) fn take_skipped(&mut self) -> usize {
        std::mem::take(&mut self.skipped)
    }

    /// Queues the last line. The connection ends once the client has read it, or at its deadline.
    pub(crate) fn send_last(&mut self, reply: &impl Serialize) {
        self.send(reply);
        self.progress = self.progress.max(RequestProgress::Answered);
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        while !self.output.is_empty() && !self.is_gone() {
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                    self.deadline = None;
                }
                Err(err) if err.kind() == ErrorKind::WouldBlock => break,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.progress = RequestProgress::Gone,
            }
        }
        if self.output.len() > MAX_UNREAD
            || (self.output.is_empty() && self.progress == RequestProgress::Answered)
        {
            self.progress = RequestProgress::Gone;
        }
        if !self.output.is_empty() && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + ANSWER_TIME);
        }
    }

    /// Returns the deadline for the client's next step; `None` while it waits for a response.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns whether the request is incomplete.
    pub(crate) fn is_asking(&self) -> bool {
        self.progress == RequestProgress::Asking
    }

    /// Returns whether bytes wait to be written to the client.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.progress == RequestProgress::Gone || self.deadline.is_some_and(|at| at <= Instant::now())
    }
}

impl AsFd for ClientConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Client side of a connection; each step has a time limit.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    stream: BufReader<UnixStream>,
}

impl ClientSocket {
    /// Connects. Each later step fails with [`ErrorKind::WouldBlock`] after `patience`.
    pub(crate) fn connect(path: &Path, patience: Duration) -> io::Result<Self> {
        let stream = through_folder(path, |short| {
            let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            // If the server's queue is full, connecting would block forever.
            set_socket_timeout(&socket, Timeout::Send, Some(at_least(patience)))?;
            let address = UnixAddr::new(short)?;
            while let Err(err) = connect(socket.as_raw_fd(), &address) {
                if err != Errno::EINTR {
                    return Err(err.into());
                }
            }
            Ok(UnixStream::from(socket))
        })?;
        let asker = Self { stream: BufReader::new(stream) };
        asker.set_patience(patience)?;
        Ok(asker)
    }

    /// Sets the time limit for the next response.
    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(at_least(patience)))
    }

    pub(crate) fn ask(&mut self, request: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)
    }

    /// Reads the next response; `None` at the end.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }
}

/// Returns at least one millisecond, since zero means no limit.
fn at_least(time: Duration) -> Duration {
    time.max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Backlog, listen};

    #[test]
    fn a_request_and_its_answers_over_a_long_path() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x".repeat(150));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("a.sock");
        let mut listener = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut asker = ClientSocket::connect(&path, Duration::from_secs(10)).unwrap();
        asker.ask(&"hello\n").unwrap();
        let mut connection = listener.accept().unwrap();
        assert_eq!(connection.receive::<String>(), Some(Ok("hello\n".to_owned())));
        connection.send(&1);
        connection.send(&2);
        drop(connection);
        assert_eq!(asker.answer::<u8>().unwrap(), Some(1));
        assert_eq!(asker.answer::<u8>().unwrap(), Some(2));
        assert_eq!(asker.answer::<u8>().unwrap(), None);
        drop(ControlSocket::bind(&path).unwrap());
    }

    #[test]
    fn lines_for_a_client_that_does_not_read_are_counted_and_end_no_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let mut listener = ControlSocket::bind(&path).unwrap();
        let mut asker = ClientSocket::connect(&path, Duration::from_secs(10)).unwrap();
        asker.ask(&1).unwrap();
        let mut connection = listener.accept().unwrap();
        assert_eq!(connection.receive::<u8>(), Some(Ok(1)));
        let line = "x".repeat(1000);
        let mut sent = 0;
        for _ in 0..8000 {
            if connection.has_room() {
                connection.send(&line);
                sent += 1;
            }
        }
        assert!(sent < 8000 && !connection.is_gone(), "{sent}");
        assert_eq!((connection.take_skipped(), connection.take_skipped()), (8000 - sent, 0));
        assert_eq!(asker.answer::<String>().unwrap().as_deref(), Some(line.as_str()));
        assert!(connection.has_room() || connection.take_skipped() == 1);
    }

    #[test]
    fn who_is_never_accepted_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listener = ControlSocket::bind(&path).unwrap();
        let patience = Duration::from_millis(1);
        let mut asker = ClientSocket::connect(&path, patience).unwrap();
        asker.ask(&1).unwrap();
        assert_eq!(asker.answer::<u8>().unwrap_err().kind(), ErrorKind::WouldBlock);
        // Until its queue is full, and beyond.
        listen(&listener, Backlog::new(8).unwrap()).unwrap();
        let mut askers = vec![asker];
        let err = loop {
            match ClientSocket::connect(&path, patience) {
                Ok(asker) => askers.push(asker),
                Err(err) => break err,
            }
        };
        assert_eq!(err.kind(), ErrorKind::WouldBlock, "after {}", askers.len());
    }
}
