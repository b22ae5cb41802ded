//! Established TCP connections of this machine to one address, from /proc/net/tcp.

#![expect(clippy::disallowed_methods, reason = "files of /proc")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;

use super::listening::address_of;

/// Returns the inodes of the sockets that are connected to the address.
#[must_use]
pub(crate) fn connections_to(address: SocketAddr) -> Vec<u64> {
    let mut inodes = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(table) = File::open(path) else { continue };
        let lines = BufReader::new(table).lines().skip(1).map_while(Result::ok);
        let connected = lines.filter_map(|line| parse_connection(&line));
        inodes.extend(connected.filter(|(peer, _)| is_same_address(*peer, address)).map(|(_, inode)| inode));
    }
    inodes
}

/// Returns whether both are the same address. An IPv4 address may be written as an IPv6 one.
#[must_use]
pub(crate) fn is_same_address(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

/// Returns the sockets among the descriptors of a process, with their inodes.
pub(crate) fn socket_descriptors(pid: i32) -> Vec<(i32, u64)> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let socket = |link: fs::DirEntry| {
        let target = fs::read_link(link.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((link.file_name().to_str()?.parse().ok()?, inode))
    };
    links.filter_map(socket).collect()
}

/// Parses a line of /proc/net/tcp or tcp6 if its socket is connected (state 01): the other end and the inode.
fn parse_connection(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, _, peer, "01", _, _, _, _, _, inode, ..] = fields[..] else { return None };
    let (address, port) = peer.split_once(':')?;
    let peer = SocketAddr::new(address_of(address)?, u16::from_str_radix(port, 16).ok()?);
    Some((peer, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_is_found_until_it_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(connections_to(address).is_empty());
        let stream = TcpStream::connect(address).unwrap();
        let found = connections_to(address);
        assert_eq!(found.len(), 1);
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(socket_descriptors(own).iter().any(|(_, inode)| *inode == found[0]));
        drop(stream);
        assert!(connections_to(address).is_empty());
        assert!(is_same_address("[::ffff:10.0.0.1]:80".parse().unwrap(), "10.0.0.1:80".parse().unwrap()));
    }
}
