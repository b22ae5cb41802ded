//! Who listens where: the listening sockets of a worker's process tree, found through /proc/net/tcp and the descriptors
//! of its processes. It tells a worker that answers from a stranger that has its port, and names the port of a worker
//! that listens on another than it was given.

#![expect(clippy::disallowed_methods, reason = "the kernel's tables of sockets and processes in /proc")]

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::unistd::geteuid;
use piku_procfs::ProcFields;

/// A socket that answers on a port, and whose process is none of those that are to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrangeListener {
    /// The user who has made it.
    pub uid: u32,
    /// The socket's inode.
    pub inode: u64,
}

/// The sockets that get the connections to a port of the loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortHolder {
    /// Sockets of these processes alone, as far as can be seen.
    Own,
    /// Somebody else, or somebody else too: which of them gets one is up to the kernel (`SO_REUSEPORT`).
    Stranger(StrangeListener),
    /// Nobody listens.
    Nobody,
}

/// Sockets of some processes.
#[derive(Debug, Default)]
pub struct OwnedSockets {
    inodes: HashSet<u64>,
    /// The users of those processes whose sockets cannot be seen: a program that hides itself, or an app that is a user of its
    /// own.
    hidden: HashSet<u32>,
}

impl OwnedSockets {
    /// Reads those of these processes and of all that descend from them.
    #[must_use]
    pub fn of(pids: &[i32]) -> Self {
        let mut all = Self::default();
        for pid in pids {
            all.add_tree(*pid);
        }
        all
    }

    /// Returns whether the listener may be one of them.
    fn may_hold(&self, listener: &ListeningSocket) -> bool {
        self.inodes.contains(&listener.inode) || self.hidden.contains(&listener.uid)
    }

    /// Returns the TCP ports that they listen on, ascending. What cannot be seen is left out.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let all = listeners();
        let mut ports: Vec<u16> =
            all.iter().filter(|one| self.inodes.contains(&one.inode)).map(|one| one.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns the TCP ports that they listen on for other machines too, ascending.
    #[must_use]
    pub fn exposed_ports(&self) -> Vec<u16> {
        let all = listeners();
        // A user that is the other apps' too tells nothing of whose they are.
        let ours = geteuid().as_raw();
        let is_its_own = |one: &&ListeningSocket| {
            self.may_hold(one) && (one.uid != ours || self.inodes.contains(&one.inode))
        };
        let exposed = all.iter().filter(is_its_own).filter(|one| !is_loopback(one.address));
        let mut ports: Vec<u16> = exposed.map(|one| one.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns who gets connections to `127.0.0.1:PORT`.
    #[must_use]
    pub fn holder(&self, port: u16) -> PortHolder {
        let all = listeners();
        let answering = answering(&all, port);
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
                    self.hidden.extend(user_of(pid));
                }
                continue;
            };
            self.inodes.extend(inodes);
        }
    }
}

/// Returns the process that has the socket with this inode, where that can be seen.
#[must_use]
pub fn holder_of(inode: u64) -> Option<i32> {
    let holds = |pid: &i32| socket_inodes(*pid).is_some_and(|mut inodes| inodes.any(|one| one == inode));
    piku_procfs::pids().into_iter().find(holds)
}

/// A listening socket.
#[derive(Debug, PartialEq, Eq)]
struct ListeningSocket {
    address: IpAddr,
    port: u16,
    /// Of who has made it.
    uid: u32,
    inode: u64,
}

/// The sockets that a connection to 127.0.0.1 reaches; several only where they share the port (`SO_REUSEPORT`).
fn answering(listeners: &[ListeningSocket], port: u16) -> Vec<&ListeningSocket> {
    let on = |addresses: &[IpAddr]| -> Vec<&ListeningSocket> {
        listeners.iter().filter(|one| one.port == port && addresses.contains(&one.address)).collect()
    };
    let v4 = on(&[
        Ipv4Addr::LOCALHOST.into(),
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into(),
    ]);
    // A socket on `::` gets IPv4 too, unless it is for IPv6 only; then an IPv4 one may stand beside it and is the one.
    if v4.is_empty() { on(&[Ipv6Addr::UNSPECIFIED.into()]) } else { v4 }
}

/// Returns whether only this machine reaches the address.
fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
    }
}

/// The kernel lists the sockets that listen before all others, of which there may be thousands.
fn listeners() -> Vec<ListeningSocket> {
    let mut all = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(table) = File::open(path) else { continue };
        let lines = BufReader::new(table).lines().skip(1).map_while(Result::ok);
        all.extend(lines.map_while(|line| parse(&line)));
    }
    all
}

/// One line of /proc/net/tcp or tcp6, when its socket listens (state 0A).
fn parse(line: &str) -> Option<ListeningSocket> {
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

/// The kernel prints each four bytes of an address as a number of this machine's byte order.
fn address_of(hex: &str) -> Option<IpAddr> {
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

/// The inodes of a process's sockets; nothing where its descriptors cannot be read.
fn socket_inodes(pid: i32) -> Option<impl Iterator<Item = u64>> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    // A descriptor closed meanwhile cannot be read and does not matter.
    let targets = links.flatten().filter_map(|link| fs::read_link(link.path()).ok());
    Some(
        targets
            .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()),
    )
}

/// Returns the effective user of a process. The owner of its files in /proc is root if the process hides itself.
fn user_of(pid: i32) -> Option<u32> {
    ProcFields::read(pid, "status")?.value("Uid")?.split_whitespace().nth(1)?.parse().ok()
}

/// Returns whether a process is process 1 of a pid namespace: the jail's init, which hides its descriptors and has no sockets.
fn is_init_of_a_jail(pid: i32) -> bool {
    let Some(status) = ProcFields::read(pid, "status") else { return false };
    let pids: Vec<&str> = status.value("NSpid").unwrap_or_default().split_whitespace().collect();
    pids.len() > 1 && pids.last() == Some(&"1")
}

#[cfg(test)]
mod tests;
