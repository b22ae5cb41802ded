//! Who listens where: the listening sockets of a worker's process tree, found through /proc/net/tcp and the descriptors
//! of its processes. It tells a worker that answers from a stranger that has its port, and names the port of a worker
//! that listens on another than it was given.

#![expect(clippy::disallowed_methods, reason = "the kernel's tables of sockets and processes in /proc")]

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::unistd::geteuid;

use crate::process::tree;

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
    pub fn of(pids: &[u32]) -> Self {
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

    fn add_tree(&mut self, pid: u32) {
        for pid in tree::of(pid) {
            let Some(inodes) = socket_inodes(pid) else {
                if !is_init_of_a_jail(pid) && exists(pid) {
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
pub fn holder_of(inode: u64) -> Option<u32> {
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| socket_inodes(*pid).is_some_and(|mut inodes| inodes.any(|one| one == inode)))
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
fn socket_inodes(pid: u32) -> Option<impl Iterator<Item = u64>> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    // A descriptor closed meanwhile cannot be read and does not matter.
    let targets = links.flatten().filter_map(|link| fs::read_link(link.path()).ok());
    Some(
        targets
            .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()),
    )
}

/// The user that a process is, whoever its files in /proc belong to: root's are those of one that hides itself.
fn user_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok())
}

/// Whether a process whose descriptors are hidden is pid 1 of a namespace: the jail's stub, which cannot be read on
/// purpose and has no socket.
fn is_init_of_a_jail(pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    pids.is_some_and(|pids| {
        let pids: Vec<&str> = pids.split_whitespace().collect();
        pids.len() > 1 && pids.last() == Some(&"1")
    })
}

fn exists(pid: u32) -> bool {
    // A zombie has no descriptors left to hide.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

#[cfg(test)]
mod tests;
