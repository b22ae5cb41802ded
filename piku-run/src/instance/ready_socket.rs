//! Readiness notifications (`sd_notify(3)`): a program sends `READY=1` to its socket. Each instance has a
//! socket in a directory that only its jail shows, so that no process can speak for another instance.

#![expect(
    clippy::disallowed_methods,
    reason = "the folder of an instance's socket, which its jail sees read-only"
)]

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::PassCred};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix, bind, recvmsg,
};

use crate::ipc::socket::through_folder;
use crate::process::wait::WaitPause;

/// Variable that holds the path of the socket.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET";
/// Directory of the socket inside a jail.
pub(crate) const FOLDER_INSIDE: &str = "/run/notify";
/// File name of the socket.
pub(crate) const NAME: &str = "socket";
/// Largest message; longer ones are ignored.
const MAX_MESSAGE: usize = 4096;
/// Number of messages that are read before a pause.
const MAX_AT_ONCE: usize = 32;
/// Pause after that many. A faster sender blocks, since the kernel's queue of ten messages is full.
const PAUSE: Duration = Duration::from_millis(100);

/// Notification socket of an instance.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    pause: WaitPause,
}

/// A message and its sender.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotifyMessage {
    /// Pid on the host; the sender may have ended.
    pub(crate) pid: i32,
    /// The message contains `READY=1`.
    pub(crate) ready: bool,
}

impl NotifySocket {
    /// Creates the directory and binds the socket, replacing an existing one.
    pub(crate) fn bind(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        let path = folder.join(NAME);
        match fs::remove_file(&path) {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let socket = UnixDatagram::unbound()?;
        // Set before anyone can send: the kernel adds no sender to earlier messages.
        setsockopt(&socket, PassCred, &true)?;
        through_folder(&path, |short| Ok(bind(&socket, &SocketAddrUnix::new(short)?)?))?;
        // Writable for an app with a user of its own. No other user can enter the directory.
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, pause: WaitPause::default() })
    }

    /// Returns the path of the socket as the program sees it: in its jail, or on the host.
    pub(crate) fn path(folder: &Path, jailed: bool) -> PathBuf {
        if jailed { Path::new(FOLDER_INSIDE).join(NAME) } else { folder.join(NAME) }
    }

    /// Returns the received messages, at most [`MAX_AT_ONCE`] before a pause: a flood delays its sender
    /// only.
    pub(crate) fn receive(&mut self) -> Vec<NotifyMessage> {
        let mut messages = Vec::new();
        for _ in 0..MAX_AT_ONCE {
            match self.receive_one() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return messages,
                // For example out of memory. The socket stays readable and would fail again at once.
                Err(_) => break,
            }
        }
        self.pause.begin(PAUSE);
        messages
    }

    /// Returns the remaining pause; `None` if the socket may be read.
    pub(crate) fn paused(&self) -> Option<Duration> {
        self.pause.left()
    }

    /// Returns the next message; `None` if all are read. A message without a sender has pid 0 and
    /// makes nothing ready.
    fn receive_one(&self) -> io::Result<Option<NotifyMessage>> {
        let mut buffer = [0; MAX_MESSAGE];
        // Space for credentials only. The kernel discards descriptors (FDSTORE=1), for which there is no
        // space.
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags) {
            Ok(received) => received,
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(err) => return Err(err.into()),
        };
        let mut pid = 0;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmCredentials(sender) = message {
                pid = sender.pid.as_raw_nonzero().get();
            }
        }
        let is_whole = !received.flags.contains(ReturnFlags::TRUNC);
        let text = &buffer[..received.bytes.min(MAX_MESSAGE)];
        let ready = pid != 0 && is_whole && text.split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
        Ok(Some(NotifyMessage { pid, ready }))
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_with_its_sender() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a".repeat(120)).join("1.notify");
        let notify = NotifySocket::bind(&folder).unwrap();
        // A second bind replaces the first socket.
        let mut again = NotifySocket::bind(&folder).unwrap();
        drop(notify);
        assert_eq!(again.receive(), []);
        let sender = UnixDatagram::unbound().unwrap();
        let say = |text: &[u8]| {
            through_folder(&folder.join(NAME), |short| sender.send_to(text, short)).unwrap();
        };
        say(b"STATUS=loading");
        say(b"STATUS=done\nREADY=1\n");
        say(b"XREADY=1");
        let pid = i32::try_from(std::process::id()).unwrap();
        let message = |ready| NotifyMessage { pid, ready };
        assert_eq!(again.receive(), [false, true, false].map(message));
        // Messages that are too long or not UTF-8 are ignored.
        say(&[b"READY=1\n".as_slice(), &vec![b'x'; 64 * 1024]].concat());
        say(&vec![0xff; 64 * 1024]);
        say(b"");
        assert_eq!(again.receive(), [false; 3].map(message));
        assert_eq!(again.paused(), None);
    }

    #[test]
    fn message_without_a_sender_makes_nothing_ready() {
        let dir = tempfile::tempdir().unwrap();
        let mut notify = NotifySocket::bind(dir.path()).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        setsockopt(&notify.socket, PassCred, &false).unwrap();
        sender.send_to(b"READY=1", dir.path().join(NAME)).unwrap();
        assert_eq!(notify.receive(), [NotifyMessage { pid: 0, ready: false }]);
    }

    #[test]
    fn descriptors_that_come_along_are_not_taken() {
        use rustix::net::{
            SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
        };
        let dir = tempfile::tempdir().unwrap();
        let mut notify = NotifySocket::bind(dir.path()).unwrap();
        let address = SocketAddrUnix::new(dir.path().join(NAME)).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        // A file of this test's own: other tests open and close theirs at the same time.
        let marker = dir.path().join("marker");
        let file = fs::File::create(&marker).unwrap();
        let is_marker = |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to == marker);
        let held = || fs::read_dir("/proc/self/fd").unwrap().flatten().filter(is_marker).count();
        let before = held();
        for count in [1, 8, 9, 200] {
            let fds = vec![file.as_fd(); count];
            let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(200))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            let text = [io::IoSlice::new(b"READY=1")];
            sendmsg_addr(&sender, &address, &text, &mut control, SendFlags::empty()).unwrap();
            let pid = i32::try_from(std::process::id()).unwrap();
            assert_eq!(notify.receive(), [NotifyMessage { pid, ready: true }], "{count}");
        }
        assert_eq!(held(), before);
    }

    #[test]
    fn a_flood_is_read_in_portions() {
        let dir = tempfile::tempdir().unwrap();
        let mut notify = NotifySocket::bind(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        let flood = std::thread::spawn(move || {
            let sender = UnixDatagram::unbound().unwrap();
            // Until the other end is closed.
            while sender.send_to(b"STATUS=busy", &path).is_ok() {}
        });
        for _ in 0..3 {
            while notify.paused().is_none() {
                assert!(notify.receive().len() <= MAX_AT_ONCE);
            }
            std::thread::sleep(notify.paused().unwrap_or_default());
        }
        drop(notify);
        flood.join().unwrap();
    }
}
