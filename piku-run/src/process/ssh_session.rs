//! The ssh session that started this process.

use std::net::{IpAddr, Ipv4Addr};

/// Returns the address at which the ssh client of this session reached this machine.
pub(crate) fn session_address() -> Option<IpAddr> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    let address: IpAddr = connection.split(' ').nth(2)?.split('%').next()?.parse().ok()?;
    // sshd shows IPv4 clients of an IPv6 socket as plain addresses, other servers may not.
    Some(match address {
        IpAddr::V6(mapped) => mapped.to_ipv4_mapped().map_or(address, |v4: Ipv4Addr| IpAddr::V4(v4)),
        IpAddr::V4(_) => address,
    })
}
