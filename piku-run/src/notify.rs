//! The socket of `sd_notify(3)`: a program that knows better than anybody when it is ready says `READY=1` there. Each instance
//! has its own, in a folder of its own that its jail shows it, so that nobody can speak for another.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::PassCred};

use crate::socket::through_folder;

/// The variable that names it.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET";
/// Where a jail shows the folder.
pub(crate) const FOLDER_INSIDE: &str = "/run/notify";
/// The socket in the folder.
pub(crate) const NAME: &str = "socket";
/// A message is a few lines; what is longer is cut off.
const MAX_MESSAGE: usize = 4096;

/// One instance's.
#[derive(Debug)]
pub(crate) struct Notify(UnixDatagram);

/// A message, and who sent it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// On the host; it may have ended since.
    pub(crate) pid: i32,
    /// Whether it says that its sender's instance is ready.
    pub(crate) ready: bool,
}

impl Notify {
    /// Listens in the folder, which is made; takes the place of a socket that is there.
    pub(crate) fn bind(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        let path = folder.join(NAME);
        match fs::remove_file(&path) {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let socket = through_folder(&path, |short| UnixDatagram::bind(short))?;
        // For an app that is a user of its own. Nobody else gets as far as the folder.
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, PassCred, &true)?;
        Ok(Self(socket))
    }

    /// Where a program finds it: in its jail, or on the host.
    pub(crate) fn path(folder: &Path, jailed: bool) -> PathBuf {
        if jailed { Path::new(FOLDER_INSIDE).join(NAME) } else { folder.join(NAME) }
    }

    /// The next message; nothing when all are read. One without a sender is none.
    pub(crate) fn receive(&self) -> Option<Message> {
        let mut buffer = [0; MAX_MESSAGE];
        let mut space = nix::cmsg_space!(nix::sys::socket::UnixCredentials, [std::os::fd::RawFd; 8]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let got = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
        let mut pid = 0;
        for message in got.cmsgs().into_iter().flatten() {
            match message {
                ControlMessageOwned::ScmCredentials(sender) => pid = sender.pid(),
                // Descriptors that come along (FDSTORE=1) are not for us to keep.
                ControlMessageOwned::ScmRights(fds) => {
                    for fd in fds {
                        let _ = nix::unistd::close(fd);
                    }
                }
                _ => {}
            }
        }
        let length = got.bytes;
        let ready = buffer[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
        Some(Message { pid, ready })
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_with_its_sender() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a".repeat(120)).join("1.notify");
        let notify = Notify::bind(&folder).unwrap();
        // A second bind takes the place of the first.
        let again = Notify::bind(&folder).unwrap();
        drop(notify);
        assert_eq!(again.receive(), None);
        let sender = UnixDatagram::unbound().unwrap();
        let say = |text: &str| {
            through_folder(&folder.join(NAME), |short| sender.send_to(text.as_bytes(), short)).unwrap();
        };
        say("STATUS=loading");
        say("STATUS=done\nREADY=1\n");
        say("XREADY=1");
        let pid = i32::try_from(std::process::id()).unwrap();
        for ready in [false, true, false] {
            assert_eq!(again.receive(), Some(Message { pid, ready }));
        }
        assert_eq!(again.receive(), None);
    }
}
