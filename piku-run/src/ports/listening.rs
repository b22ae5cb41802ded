//! Listening sockets of a process tree, from /proc/net/tcp and the descriptors of its processes. Tells an
//! instance that answers on its port from another process that has taken it, and finds the port of an
//! instance that listens on the wrong one.

#![expect(clippy::disallowed_methods, reason = "the kernel's tables of sockets and processes in /proc")]

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::unistd::geteuid;
use piku_procfs::ProcFields;

/// A socket of an unrelated process that answers on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StrangeListener {
    /// User that created it.
    pub(crate) uid: u32,
    pub(crate) inode: u64,
}

/// Owner of the sockets that receive connections to a loopback port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortHolder {
    /// Only these processes, as far as can be seen.
    Own,
    /// Another process, alone or together with these (`SO_REUSEPORT`).
    Stranger(StrangeListener),
    /// Nothing listens.
    Nobody,
}

/// The sockets of some process trees.
#[derive(Debug, Default)]
pub(crate) struct OwnedSockets {
    inodes: HashSet<u64>,
    /// Users of processes whose sockets are hidden: programs that hide themselves, and apps with their own
    /// users.
    hidden: HashSet<u32>,
}

impl OwnedSockets {
    /// Reads the sockets of these processes and all their descendants.
    #[must_use]
    pub(crate) fn of(pids: &[i32]) -> Self {
        let mut all = Self::default();
        for pid in pids {
            all.add_tree(*pid);
        }
        all
    }

    /// Returns whether the listener may belong to these processes.
    fn may_hold(&self, listener: &ListeningSocket) -> bool {
        self.inodes.contains(&listener.inode) || self.hidden.contains(&listener.uid)
    }

    /// Returns the TCP sockets on which they listen, by port. Hidden ones only if their user is the app's
    /// own.
    #[must_use]
    pub(crate) fn listeners(&self) -> Vec<SocketAddr> {
        let all = listening_sockets();
        let its_own = all.iter().filter(|one| self.is_its_own(one));
        let mut listeners: Vec<SocketAddr> =
            its_own.map(|one| SocketAddr::new(one.address, one.port)).collect();
        listeners.sort_unstable_by_key(|listener| (listener.port(), listener.ip()));
        listeners.dedup();
        listeners
    }

    /// Returns whether the listener belongs to these processes. A user that all apps share does not identify
    /// the app.
    fn is_its_own(&self, listener: &ListeningSocket) -> bool {
        let ours = geteuid().as_raw();
        self.may_hold(listener) && (listener.uid != ours || self.inodes.contains(&listener.inode))
    }

    /// Returns the TCP ports that other machines can reach, ascending.
    #[must_use]
    pub(crate) fn exposed_ports(&self) -> Vec<u16> {
        let all = listening_sockets();
        let exposed = all.iter().filter(|one| self.is_its_own(one)).filter(|one| !is_loopback(one.address));
        let mut ports: Vec<u16> = exposed.map(|one| one.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns who gets connections to `127.0.0.1:PORT`.
    #[must_use]
    pub(crate) fn holder(&self, port: u16) -> PortHolder {
        let all = listening_sockets();
        let answering = sockets_answering(&all, port);
        match answering.iter().find(|one| !self.may_hold(one)) {
            Some(strange) => PortHolder::Stranger(StrangeListener { uid: strange.uid, inode: strange.inode }),
            None if answering.is_empty() => PortHolder::Nobody,
            None => PortHolder::Own,
        }
    }

    fn add_tree(&mut self, pid: i32) {
        for pid in piku_procfs::process_tree(pid) {
            let Some(inodes) = socket_inodes(pid) else {
                if !is_init_of_a_jail(pid) && piku_procfs::is_running(pid) {
                    self.add_hidden(user_of(pid));
                }
                continue;
            };
            self.inodes.extend(inodes);
        }
    }

    /// Adds the user of a process whose sockets are hidden. A worker is never root: root's process is newuidmap
    /// or newgidmap, which a jail starts for itself.
    fn add_hidden(&mut self, user: Option<u32>) {
        self.hidden.extend(user.filter(|uid| *uid != 0));
    }
}

/// Returns the process that holds the socket with this inode, if it can be seen.
#[must_use]
pub(crate) fn holder_of(inode: u64) -> Option<i32> {
    let holds = |pid: &i32| socket_inodes(*pid).is_some_and(|mut inodes| inodes.any(|one| one == inode));
    piku_procfs::pids().into_iter().find(holds)
}

#[derive(Debug, PartialEq, Eq)]
struct ListeningSocket {
    address: IpAddr,
    port: u16,
    /// User that created it.
    uid: u32,
    inode: u64,
}

/// Returns the sockets that receive connections to 127.0.0.1; several only with `SO_REUSEPORT`.
fn sockets_answering(listeners: &[ListeningSocket], port: u16) -> Vec<&ListeningSocket> {
    let on = |addresses: &[IpAddr]| -> Vec<&ListeningSocket> {
        listeners.iter().filter(|one| one.port == port && addresses.contains(&one.address)).collect()
    };
    let v4 = on(&[
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into(),
    ]);
    // A socket on `::` receives IPv4 too unless it is IPv6-only; an IPv4 socket beside it takes precedence.
    if v4.is_empty() { on(&[Ipv6Addr::UNSPECIFIED.into()]) } else { v4 }
}

/// Returns whether the address is reachable from this machine only.
fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
    }
}

/// Reads all listening sockets. The kernel lists them before all others, of which there may be thousands.
fn listening_sockets() -> Vec<ListeningSocket> {
    let mut all = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(table) = File::open(path) else { continue };
        let lines = BufReader::new(table).lines().skip(1).map_while(Result::ok);
        all.extend(lines.map_while(|line| parse_socket(&line)));
    }
    all
}

/// Parses a line of /proc/net/tcp or tcp6 if its socket listens (state 0A).
fn parse_socket(line: &str) -> Option<ListeningSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, "0A", _, _, _, uid, _, inode, ..] = fields[..] else { return None };
    let (address, port) = local.split_once(':')?;
    Some(ListeningSocket {
        address: address_of(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        uid: uid.parse().ok()?,
        inode: inode.parse().ok()?,
    })
}

/// Parses an address. The kernel prints each four bytes as a number in native byte order.
pub(super) fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| -> Option<[u8; 4]> {
        Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let bytes: Vec<u8> = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => None,
    }
}

/// Returns the inodes of a process's sockets; `None` if its descriptors are hidden.
fn socket_inodes(pid: i32) -> Option<impl Iterator<Item = u64>> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    // Skip descriptors that were closed meanwhile.
    let targets = links.flatten().filter_map(|link| fs::read_link(link.path()).ok());
    Some(
        targets
            .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()),
    )
}

/// Returns the effective user of a process. The owner of its files in /proc is root if the process hides
/// itself.
fn user_of(pid: i32) -> Option<u32> {
    ProcFields::read(pid, "status")?.value("Uid")?.split_whitespace().nth(1)?.parse().ok()
}

/// Returns whether a process is process 1 of a pid namespace: the jail's init, which hides its descriptors
/// and has no sockets.
fn is_init_of_a_jail(pid: i32) -> bool {
    let Some(status) = ProcFields::read(pid, "status") else { return false };
    let pids: Vec<&str> = status.value("NSpid").unwrap_or_default().split_whitespace().collect();
    pids.len() > 1 && pids.last() == Some(&"1")
}

#[cfg(test)]
mod tests;
