//! Reservation of the port of an instance that is down: nginx still sends requests there, which another
//! listener would receive.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};

use super::PortClaim;

/// A reserved port: nothing else can listen on it, and connections are refused.
#[derive(Debug)]
pub(crate) struct PortGuard {
    claim: PortClaim,
    _socket: OwnedFd,
}

impl PortGuard {
    /// Reserves the port of a claim.
    ///
    /// # Errors
    /// Returns the claim if another process has bound the port.
    pub(crate) fn hold(claim: PortClaim) -> Result<Self, PortClaim> {
        match bind_port(claim.port()) {
            Ok(socket) => Ok(Self { claim, _socket: socket }),
            Err(_) => Err(claim),
        }
    }

    /// Releases the port for the next process.
    #[must_use]
    pub(crate) fn release(self) -> PortClaim {
        self.claim
    }
}

/// Binds a socket to the port without listening.
fn bind_port(port: u16) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Ignore old connections of the process that has ended.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    // Also conflicts with a socket on all IPv4 or IPv6 addresses.
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))?;
    // The kernel checks the option when another socket binds or listens: from now on that fails.
    setsockopt(&socket, sockopt::ReuseAddr, &false)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use piku_layout::paths::PikuRoot;
    use piku_layout::settings::PortRange;

    /// Tries to listen as another program would.
    fn steal(address: SocketAddr, shared: bool) -> Result<(), Errno> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let thief = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&thief, sockopt::ReuseAddr, &true)?;
        setsockopt(&thief, sockopt::ReusePort, &shared)?;
        bind(thief.as_raw_fd(), &nix::sys::socket::SockaddrStorage::from(address))?;
        nix::sys::socket::listen(&thief, nix::sys::socket::Backlog::new(1)?)
    }

    #[test]
    fn nobody_listens_on_a_held_port_and_its_clients_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let first = piku_tests::ports::free_port();
        let claim = super::super::claim_port(&root, PortRange { first, last: first + 100 }, None).unwrap();
        let port = claim.port();
        // An ended instance with connections, one of them still open at its client.
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let clients = [(); 2].map(|()| TcpStream::connect(("127.0.0.1", port)).unwrap());
        let served = [(); 2].map(|()| listener.accept().unwrap().0);
        drop((listener, served));
        let guard = PortGuard::hold(claim).unwrap();
        for address in ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
            let address = SocketAddr::new(address.parse().unwrap(), port);
            for shared in [false, true] {
                let stolen = steal(address, shared);
                assert!(stolen.is_err(), "{address} {shared}");
            }
        }
        let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        drop(clients);
        let claim = guard.release();
        // A process that another test just starts has the guard's sockets until it executes its program.
        let mut back = None;
        piku_tests::world::wait_for("the port", || {
            back = TcpListener::bind(("127.0.0.1", port)).ok();
            back.is_some()
        });
        assert_eq!(PortGuard::hold(claim).unwrap_err().port(), port, "it is in use");
        drop(back);
    }
}
