//! Ports of instances. A port is claimed by a lock on a file named after its number. The kernel releases
//! the lock with the last holder of the descriptor, so two apps never share a port and nothing needs
//! cleaning up after a crash.

#![expect(clippy::disallowed_methods, reason = "locks of ports, which only piku writes")]

pub(crate) mod connections;
mod guard;
pub(crate) mod listening;
pub(crate) mod senders;

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, setsockopt, socket, sockopt,
};
use piku_files::FileLock;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::PortRange;
use piku_report::user_error::UserError;

pub(crate) use guard::PortGuard;

/// A claimed port. The claim lasts as long as this value or a copy of its descriptor in another process.
#[derive(Debug)]
pub(crate) struct PortClaim {
    port: u16,
    lock: FileLock,
}

impl PortClaim {
    #[must_use]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the locked descriptor, which is closed on exec. A process that inherits a copy without that
    /// flag keeps the port.
    #[must_use]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

/// Claims a free port of the range: `prefer` if possible, otherwise the lowest; if all are taken, an
/// ephemeral one.
///
/// # Errors
/// Fails if no port is free or the lock directory cannot be used.
pub(crate) fn claim_port(
    root: &PikuRoot,
    range: PortRange,
    prefer: Option<u16>,
) -> anyhow::Result<PortClaim> {
    let all = range.first..=range.last;
    if all.is_empty() || range.first == 0 {
        return Err(bad_range(root, range).into());
    }
    make_folder(root)?;
    let prefer = prefer.filter(|port| all.contains(port));
    // Servers with SO_REUSEADDR can bind a port with connections in TIME_WAIT; not all set it. Such ports
    // come last, except for the instance that used the port before.
    let strict = all.clone().map(|port| (port, false));
    let lenient = all.map(|port| (port, true));
    for (port, reuse) in prefer.map(|port| (port, true)).into_iter().chain(strict).chain(lenient) {
        // Lock first: without the lock, the state of the socket may change at any time.
        if let Some(claim) = lock_port(root, port)? {
            if (prefer == Some(port) || !senders::is_any_alive(root, port)) && is_free(port, reuse)? {
                return Ok(claim);
            }
        }
    }
    claim_outside_range(root, range)
}

/// Number of ports outside of the range that are tried.
const BEYOND: usize = 64;

/// Claims an ephemeral port outside of the range, for when the range is exhausted or another process keeps
/// taking its ports.
///
/// # Errors
/// Fails if no port is free or the lock directory cannot be used.
pub(crate) fn claim_outside_range(root: &PikuRoot, range: PortRange) -> anyhow::Result<PortClaim> {
    make_folder(root)?;
    for _ in 0..BEYOND {
        let Ok(any) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { break };
        let port = any.local_addr().context("cannot look for a port")?.port();
        let Some(claim) = lock_port(root, port)? else { continue };
        drop(any);
        if !senders::is_any_alive(root, port) && is_free(port, false)? {
            return Ok(claim);
        }
    }
    let message = format!("all ports from {} to {} are taken", range.first, range.last);
    let hint = format!("widen 'ports' in '{}', or stop what is not needed", root.settings().display());
    Err(UserError::new(message).hint(hint).into())
}

/// Locks the port of a running instance; `None` if another process, such as the instance itself, has the
/// lock.
///
/// # Errors
/// Fails if the lock directory cannot be used.
pub(crate) fn reclaim_port(root: &PikuRoot, port: u16) -> anyhow::Result<Option<PortClaim>> {
    make_folder(root)?;
    lock_port(root, port)
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

fn lock_port(root: &PikuRoot, port: u16) -> anyhow::Result<Option<PortClaim>> {
    let path = root.ports().join(port.to_string());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    let lock = FileLock::try_exclusive(file).with_context(|| format!("cannot lock '{}'", path.display()))?;
    Ok(lock.map(|lock| PortClaim { port, lock }))
}

/// Returns whether a process could listen on the port on loopback and on all addresses, IPv4 and IPv6;
/// `reuse` sets `SO_REUSEADDR`.
pub(crate) fn is_free(port: u16, reuse: bool) -> anyhow::Result<bool> {
    let addresses: [SocketAddr; 3] = [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv4Addr::UNSPECIFIED, port).into(),
        (Ipv6Addr::UNSPECIFIED, port).into(),
    ];
    for address in addresses {
        match try_bind(address, reuse) {
            Ok(()) => {}
            // Without IPv6 nothing listens there.
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if address.is_ipv6() => {}
            Err(Errno::EADDRINUSE | Errno::EACCES) => return Ok(false),
            Err(err) => return Err(io::Error::from(err)).with_context(|| format!("cannot try port {port}")),
        }
    }
    Ok(true)
}

/// Binds a socket and closes it. It never listens, so that no client can connect to it.
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

    /// Returns a range around a free port.
    fn range(length: u16) -> PortRange {
        let first = piku_tests::ports::free_port();
        PortRange { first, last: first + length - 1 }
    }

    #[test]
    fn a_port_is_claimed_once_and_kept_by_who_inherits_it() {
        let (_dir, root) = root();
        let range = range(200);
        let one = claim_port(&root, range, None).unwrap();
        let two = claim_port(&root, range, Some(one.port())).unwrap();
        assert_ne!(one.port(), two.port());
        assert!(reclaim_port(&root, one.port()).unwrap().is_none());

        // A process that has the descriptor, here as its stdin, keeps the port.
        let stdin = Stdio::from(one.fd().try_clone_to_owned().unwrap());
        let mut worker = Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
        let port = one.port();
        drop(one);
        assert!(reclaim_port(&root, port).unwrap().is_none());
        worker.kill().unwrap();
        worker.wait().unwrap();
        // A process that another test is starting has the descriptor too, until it executes its program.
        let taken_up = (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            reclaim_port(&root, port).unwrap()
        });
        assert_eq!(taken_up.unwrap().port(), port);
        assert_eq!(claim_port(&root, range, Some(port)).unwrap().port(), port);
    }

    #[test]
    fn what_listens_is_passed_over_on_each_address() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let taken = listener.local_addr().unwrap().port();
            let (_dir, root) = root();
            let only = PortRange { first: taken, last: taken };
            // A port outside of the range is used if another process takes those inside on purpose.
            let beyond = claim_port(&root, only, None).unwrap();
            assert_ne!(beyond.port(), taken, "{address}");
            // Nothing stays locked.
            assert!(reclaim_port(&root, taken).unwrap().is_some());
        }
    }

    /// Returns a port without a listener and with a connection in `TIME_WAIT`.
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
        assert_ne!(claim_port(&root, range, None).unwrap().port(), waiting);
        // The instance that used the port keeps it.
        assert_eq!(claim_port(&root, range, Some(waiting)).unwrap().port(), waiting);
        let only = PortRange { first: waiting, last: waiting };
        assert_eq!(claim_port(&root, only, None).unwrap().port(), waiting);
    }

    #[test]
    fn an_empty_range_says_so() {
        let (_dir, root) = root();
        let err = claim_port(&root, PortRange { first: 300, last: 200 }, None).unwrap_err();
        assert_eq!(format!("{err:#}"), "no port lies between 300 and 200");
    }
}
