//! Unix sockets that speak lines of JSON with processes of the same user, and nobody else.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use serde::{Serialize, de::DeserializeOwned};

/// A request's length, and what a client may leave unread of the answers.
const MAX_LINE: usize = 64 * 1024;
const MAX_UNREAD: usize = 4 * 1024 * 1024;

/// Where others may ask.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Takes the place of a socket that is there. The caller holds a lock that says it may.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let listener = through_folder(path, |short| UnixListener::bind(short))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// The next one who asks; nothing when nobody is left. Other users' processes are hung up on.
    pub(crate) fn accept(&self) -> Option<Connection> {
        loop {
            let (stream, _) = self.listener.accept().ok()?;
            let same = getsockopt(&stream, PeerCredentials)
                .is_ok_and(|peer| peer.uid() == geteuid().as_raw() || peer.uid() == 0);
            if same && stream.set_nonblocking(true).is_ok() {
                return Some(Connection { stream, input: Vec::new(), output: Vec::new(), gone: false });
            }
        }
    }

    /// From now on nobody new finds it; those who already did can still be accepted.
    pub(crate) fn hide(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Calls `open` with a name for the socket that is short: a socket's address holds 107 bytes, a path may be longer.
pub(crate) fn through_folder<T>(path: &Path, open: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return open(path) };
    let folder = File::open(folder)?;
    open(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

/// One who asks, seen from the server: never blocks.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    gone: bool,
}

impl Connection {
    /// What came: a whole request, or nothing yet. After an error or the end the connection [is gone](Self::is_gone).
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Option<Result<T, String>> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break self.gone = true,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(err) if err.kind() == ErrorKind::WouldBlock => break,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(_) => break self.gone = true,
            }
            if self.input.len() > MAX_LINE {
                break self.gone = true;
            }
        }
        let end = self.input.iter().position(|b| *b == b'\n')?;
        let line: Vec<u8> = self.input.drain(..=end).collect();
        Some(serde_json::from_slice(&line).map_err(|err| format!("bad request: {err}")))
    }

    /// Queues a line and writes what goes.
    pub(crate) fn send(&mut self, reply: &impl Serialize) {
        if self.gone {
            return;
        }
        // Into memory, and these types have string keys: cannot fail.
        let _ = serde_json::to_writer(&mut self.output, reply);
        self.output.push(b'\n');
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        while !self.output.is_empty() && !self.gone {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(err) if err.kind() == ErrorKind::WouldBlock => break,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        self.gone |= self.output.len() > MAX_UNREAD;
    }

    /// Whether something waits to be written.
    pub(crate) fn is_full(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The asking side: blocks.
#[derive(Debug)]
pub(crate) struct Asker {
    stream: BufReader<UnixStream>,
}

impl Asker {
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let stream = through_folder(path, |short| UnixStream::connect(short))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) fn ask(&mut self, request: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)
    }

    /// The next answer; nothing at the end.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_answers_over_a_long_path() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x".repeat(150));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("a.sock");
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut asker = Asker::connect(&path).unwrap();
        asker.ask(&"hello\n").unwrap();
        let mut connection = listener.accept().unwrap();
        assert_eq!(connection.receive::<String>(), Some(Ok("hello\n".to_owned())));
        connection.send(&1);
        connection.send(&2);
        drop(connection);
        assert_eq!(asker.answer::<u8>().unwrap(), Some(1));
        assert_eq!(asker.answer::<u8>().unwrap(), Some(2));
        assert_eq!(asker.answer::<u8>().unwrap(), None);
        drop(Listener::bind(&path).unwrap());
    }
}
