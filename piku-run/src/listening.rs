//! Who listens where: the listening sockets of a worker's process tree, found through /proc/net/tcp and the descriptors
//! of its processes. It tells a worker that answers from a stranger that has its port, and names the port of a worker
//! that listens on another than it was given.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;

use crate::tree;

/// Whether a port belongs to a process tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belongs {
    /// All that listens there is of this tree.
    Yes,
    /// Nobody listens there, or somebody else does.
    No,
    /// The descriptors of a process of the tree cannot be read, so that its socket may be the one.
    Unknown,
}

/// The TCP ports that the process or any of its descendants listens on, ascending. What cannot be read is left out.
#[must_use]
pub fn ports_of(pid: u32) -> Vec<u16> {
    let (inodes, _) = sockets_of(pid);
    let mut ports: Vec<u16> =
        listeners().into_iter().filter(|one| inodes.contains(&one.inode)).map(|one| one.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Whether what answers at `127.0.0.1:PORT` is the process or one of its descendants.
#[must_use]
pub fn belongs(pid: u32, port: u16) -> Belongs {
    let listeners = listeners();
    let answering = answering(&listeners, port);
    if answering.is_empty() {
        return Belongs::No;
    }
    let (inodes, hidden) = sockets_of(pid);
    let owner = |inode: &u64| listeners.iter().find(|one| one.inode == *inode).map(|one| one.uid);
    let strange: Vec<&u64> = answering.iter().filter(|inode| !inodes.contains(inode)).collect();
    if strange.is_empty() {
        Belongs::Yes
    } else if strange.into_iter().all(|inode| owner(inode).is_some_and(|uid| hidden.contains(&uid))) {
        Belongs::Unknown
    } else {
        Belongs::No
    }
}

/// A listening socket.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    port: u16,
    /// Of who has made it.
    uid: u32,
    inode: u64,
}

/// The sockets that a connection to 127.0.0.1 reaches; several only where they share the port (`SO_REUSEPORT`).
fn answering(listeners: &[Listener], port: u16) -> Vec<u64> {
    let on = |addresses: &[IpAddr]| -> Vec<u64> {
        let there = listeners.iter().filter(|one| one.port == port && addresses.contains(&one.address));
        there.map(|one| one.inode).collect()
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

fn listeners() -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(parse).collect::<Vec<_>>())
        .collect()
}

/// One line of /proc/net/tcp or tcp6, when its socket listens (state 0A).
fn parse(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, "0A", _, _, _, uid, _, inode, ..] = fields[..] else { return None };
    let (address, port) = local.split_once(':')?;
    Some(Listener {
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

/// The inodes of the tree's sockets, and the users of those processes whose sockets cannot be seen: a program that hides
/// itself, or an app that is a user of its own.
fn sockets_of(pid: u32) -> (HashSet<u64>, HashSet<u32>) {
    let mut inodes = HashSet::new();
    let mut hidden = HashSet::new();
    for pid in tree::of(pid) {
        let Ok(links) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            if !is_init_of_a_jail(pid) && exists(pid) {
                hidden.extend(fs::metadata(format!("/proc/{pid}")).map(|about| about.uid()));
            }
            continue;
        };
        for link in links.flatten() {
            // A descriptor closed meanwhile cannot be read and does not matter.
            let Ok(target) = fs::read_link(link.path()) else { continue };
            let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
            inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
        }
    }
    (inodes, hidden)
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
