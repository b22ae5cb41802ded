//! Ports of instances. A port is claimed by a lock on a file of its number, which the kernel frees with the last holder of
//! the descriptor; no two apps ever get the same one, and nobody cleans up after a crash.

#![expect(clippy::disallowed_methods, reason = "locks of ports, which only piku writes")]

mod guard;
pub mod listening;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, setsockopt, socket, sockopt,
};
use piku_layout::paths::PikuRoot;
use piku_layout::settings::PortRange;
use piku_report::user_error::UserError;
use rustix::fs::{FlockOperation, flock};

pub use guard::PortGuard;

/// A port that nobody else gets while this value, or a copy of its descriptor in another process, lives.
#[derive(Debug)]
pub struct PortClaim {
    port: u16,
    // Closed, never unlocked by hand: the lock stays with a worker that has inherited the descriptor.
    file: File,
}

impl PortClaim {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The locked descriptor, closed on exec; a copy without that flag keeps the port with the process that inherits it.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Claims a port of the range that nothing listens on: `prefer` when it is to be had, else the lowest; when all are taken, one
/// outside of it.
///
/// # Errors
/// When there is none at all, or the folder of the locks cannot be used.
pub fn claim(root: &PikuRoot, range: PortRange, prefer: Option<u16>) -> anyhow::Result<PortClaim> {
    let all = range.first..=range.last;
    if all.is_empty() || range.first == 0 {
        return Err(bad_range(root, range).into());
    }
    make_folder(root)?;
    let prefer = prefer.filter(|port| all.contains(port));
    // A port with connections in TIME_WAIT is good for servers that set SO_REUSEADDR. Not all do: it comes last, but for
    // the instance that has had it.
    let strict = all.clone().map(|port| (port, false));
    let lenient = all.map(|port| (port, true));
    for (port, reuse) in prefer.map(|port| (port, true)).into_iter().chain(strict).chain(lenient) {
        // The lock first: a look at the socket without it tells nothing about the next moment.
        if let Some(claim) = lock(root, port)? {
            if is_free(port, reuse)? {
                return Ok(claim);
            }
        }
    }
    claim_beyond(root, range)
}

/// The number of ports outside of the range that are tried.
const BEYOND: usize = 64;

/// Claims a port outside of the range, of those that the kernel gives to whoever asks for any: where somebody takes the ports
/// of the range, or all of them are in use.
///
/// # Errors
/// When none is to be had, or the folder of the locks cannot be used.
pub fn claim_beyond(root: &PikuRoot, range: PortRange) -> anyhow::Result<PortClaim> {
    make_folder(root)?;
    for _ in 0..BEYOND {
        let Ok(any) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { break };
        let port = any.local_addr().context("cannot look for a port")?.port();
        let Some(claim) = lock(root, port)? else { continue };
        drop(any);
        if is_free(port, false)? {
            return Ok(claim);
        }
    }
    let message = format!("all ports from {} to {} are taken", range.first, range.last);
    let hint = format!("widen 'ports' in '{}', or stop what is not needed", root.settings().display());
    Err(UserError::new(message).hint(hint).into())
}

/// Locks the port of a worker that runs already, whether it listens or not; `None` when somebody else has the lock, the
/// worker itself for one.
///
/// # Errors
/// When the folder of the locks cannot be used.
pub fn take_up(root: &PikuRoot, port: u16) -> anyhow::Result<Option<PortClaim>> {
    make_folder(root)?;
    lock(root, port)
}

fn bad_range(root: &PikuRoot, range: PortRange) -> UserError {
    let hint = format!(
        "'ports' in '{}' wants 'first' and 'last', such as 20000 and 29999",
        root.settings().display()
    );
    UserError::new(format!("no port lies between {} and {}", range.first.max(1), range.last)).hint(hint)
}

fn make_folder(root: &PikuRoot) -> anyhow::Result<()> {
    let folder = root.ports();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make '{}'", folder.display()))
}

fn lock(root: &PikuRoot, port: u16) -> anyhow::Result<Option<PortClaim>> {
    let path = root.ports().join(port.to_string());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(PortClaim { port, file })),
        Err(err) if err == rustix::io::Errno::WOULDBLOCK => Ok(None),
        Err(err) => Err(io::Error::from(err)).with_context(|| format!("cannot lock '{}'", path.display())),
    }
}

/// Whether a worker could listen on the port, on loopback or on all addresses, IPv4 or IPv6; `reuse`: with `SO_REUSEADDR`.
pub(crate) fn is_free(port: u16, reuse: bool) -> anyhow::Result<bool> {
    let addresses: [SocketAddr; 3] = [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv4Addr::UNSPECIFIED, port).into(),
        (Ipv6Addr::UNSPECIFIED, port).into(),
    ];
    for address in addresses {
        match try_bind(address, reuse) {
            Ok(()) => {}
            // A host without IPv6 has nothing that listens there.
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if address.is_ipv6() => {}
            Err(Errno::EADDRINUSE | Errno::EACCES) => return Ok(false),
            Err(err) => return Err(io::Error::from(err)).with_context(|| format!("cannot try port {port}")),
        }
    }
    Ok(true)
}

/// Binds and lets go, never listens: nobody can connect to a socket that is about to vanish.
fn try_bind(address: SocketAddr, reuse: bool) -> Result<(), Errno> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &reuse)?;
    match address {
        SocketAddr::V4(address) => bind(socket.as_raw_fd(), &SockaddrIn::from(address)),
        SocketAddr::V6(address) => bind(socket.as_raw_fd(), &SockaddrIn6::from(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    fn root() -> (tempfile::TempDir, PikuRoot) {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        (dir, root)
    }

    /// A range around a port that the kernel found free.
    fn range(length: u16) -> PortRange {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let first = free.min(u16::MAX - length);
        PortRange { first, last: first + length - 1 }
    }

    #[test]
    fn a_port_is_claimed_once_and_kept_by_who_inherits_it() {
        let (_dir, root) = root();
        let range = range(200);
        let one = claim(&root, range, None).unwrap();
        let two = claim(&root, range, Some(one.port())).unwrap();
        assert_ne!(one.port(), two.port());
        assert!(take_up(&root, one.port()).unwrap().is_none());

        // A worker that has the descriptor, here as its stdin, keeps the port.
        let stdin = Stdio::from(one.fd().try_clone_to_owned().unwrap());
        let mut worker = Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
        let port = one.port();
        drop(one);
        assert!(take_up(&root, port).unwrap().is_none());
        worker.kill().unwrap();
        worker.wait().unwrap();
        // A process that another test is starting has the descriptor too, until it runs its program.
        let taken_up = (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            take_up(&root, port).unwrap()
        });
        assert_eq!(taken_up.unwrap().port(), port);
        assert_eq!(claim(&root, range, Some(port)).unwrap().port(), port);
    }

    #[test]
    fn what_listens_is_passed_over_on_each_address() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let taken = listener.local_addr().unwrap().port();
            let (_dir, root) = root();
            let only = PortRange { first: taken, last: taken };
            // One that is not of the range is better than none: it may be taken on purpose.
            let beyond = claim(&root, only, None).unwrap();
            assert_ne!(beyond.port(), taken, "{address}");
            // Nothing stays locked.
            assert!(take_up(&root, taken).unwrap().is_some());
        }
    }

    /// A port on which nobody listens, with a connection in `TIME_WAIT`.
    fn in_time_wait() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        // The server's side ends first, so TIME_WAIT is on its port.
        drop(listener.accept().unwrap());
        drop(client);
        address.port()
    }

    #[test]
    fn a_port_in_time_wait_is_the_last_choice() {
        let waiting = in_time_wait();
        assert!(!is_free(waiting, false).unwrap() && is_free(waiting, true).unwrap());
        let (_dir, root) = root();
        let range = PortRange { first: waiting, last: waiting.saturating_add(50) };
        assert_ne!(claim(&root, range, None).unwrap().port(), waiting);
        // Kept by the instance that has had it, whose connections these are.
        assert_eq!(claim(&root, range, Some(waiting)).unwrap().port(), waiting);
        let only = PortRange { first: waiting, last: waiting };
        assert_eq!(claim(&root, only, None).unwrap().port(), waiting);
    }

    #[test]
    fn an_empty_range_says_so() {
        let (_dir, root) = root();
        let err = claim(&root, PortRange { first: 300, last: 200 }, None).unwrap_err();
        assert_eq!(format!("{err:#}"), "no port lies between 300 and 200");
    }
}
