//! Ports that a test hands to a server which binds them later, and those of whole worlds.
//!
//! The former lie below the ephemeral ports and below those of apps. An abstract socket with the number in its name
//! reserves a port against all other tests, in this process and in others, until the process ends; it leaves
//! no file.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

const FIRST: u16 = 10_240;
const COUNT: u16 = 20_000 - FIRST;

static KEPT: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// Reserves a port that no process listens on and no other test is given.
///
/// # Panics
/// Panics if every port is taken.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes begin at different places, so that a number comes back late.
    let process = u16::try_from(std::process::id() % u32::from(COUNT)).expect("fewer than all numbers");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (process % COUNT + step) % COUNT;
        let name = format!("piku-tests port {port}");
        let name = SocketAddr::from_abstract_name(name.as_bytes()).expect("a short name");
        let Ok(keeper) = UnixListener::bind_addr(&name) else { continue };
        // Another process may listen there, on any address.
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(keeper);
            return port;
        }
    }
    panic!("all ports from {FIRST} to {} are taken", FIRST + COUNT - 1);
}

/// Reserves a hundred ports for one server; a listener on the last keeps them from other test processes too.
pub(crate) fn reserve_hundred() -> (u16, TcpListener) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 100).expect("below a hundred");
    for _ in 0..100 {
        let slot = (process + NEXT.fetch_add(1, Ordering::Relaxed)) % 100;
        let first = 20000 + slot * 100;
        if let Ok(guard) = TcpListener::bind(("127.0.0.1", first + 99)) {
            return (first, guard);
        }
    }
    panic!("a hundred worlds at once");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn free_ports_are_unique() {
        let first = free_port();
        let taken = TcpListener::bind(("127.0.0.1", first)).unwrap();
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
        assert!(!ports.contains(&first), "{first} of {:?}", taken.local_addr());
    }
}
