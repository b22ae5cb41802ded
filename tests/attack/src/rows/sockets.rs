//! Sockets that lead to a process with more rights, and families of sockets that lead into rarely tested
//! parts of the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::sys::{self, call};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 6] = [
    Row {
        name: "host-sockets",
        attempt: "connect to docker, D-Bus, systemd, syslog, ssh-agent and piku",
        expected: "not there",
        run: host,
    },
    Row {
        name: "abstract-sockets",
        attempt: "connect to abstract sockets of the host",
        expected: "refused with Landlock or an own network",
        run: abstracts,
    },
    Row {
        name: "socket-families",
        attempt: "sockets of AF_ALG, AF_VSOCK and AF_PACKET",
        expected: "EPERM",
        run: families,
    },
    Row {
        name: "netlink-families",
        attempt: "netlink sockets of each family but the one that lists addresses",
        expected: "EPERM",
        run: netlink,
    },
    Row {
        name: "internet-protocols",
        attempt: "sockets of MPTCP, SMC, SCTP and DCCP",
        expected: "EPROTONOSUPPORT",
        run: protocols,
    },
    Row {
        name: "foreign-ports",
        attempt: "bind TCP ports that belong to others, plainly and through MPTCP and SMC",
        expected: "refused with Landlock of Linux 6.7",
        run: ports,
    },
];

const KNOWN: [&str; 15] = [
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
    "/run/systemd/notify",
    "/run/systemd/journal/socket",
    "/run/systemd/journal/dev-log",
    "/run/systemd/userdb/io.systemd.DynamicUser",
    "/run/user/1000/bus",
    "/run/user/1000/systemd/private",
    "/run/user/1000/keyring/ssh",
    "/run/lxd.socket",
    "/dev/log",
];

fn host(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let agent = std::env::var("SSH_AUTH_SOCK").ok();
    for path in KNOWN.into_iter().chain(facts.all("socket")).chain(agent.as_deref()) {
        ways.io(path, UnixStream::connect(path));
        ways.io(path, UnixDatagram::unbound().and_then(|socket| socket.connect(path)));
    }
    ways.verdict()
}

fn abstracts(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let mut names: BTreeSet<String> = facts.all("abstract").map(str::to_owned).collect();
    // The kernel tells of all that this network has. What was prepared for another attack, at the same time, is not ours.
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    // What was prepared for another attack at the same time is that one's.
    let listed = table.lines().filter_map(|line| line.rsplit(' ').next()?.strip_prefix('@'));
    names.extend(listed.filter(|name| !name.starts_with("piku-attack-")).map(str::to_owned));
    for name in names {
        let Ok(address) = SocketAddr::from_abstract_name(&name) else { continue };
        ways.io(&format!("@{name}"), UnixStream::connect_addr(&address));
        ways.io(
            &format!("@{name}"),
            UnixDatagram::unbound().and_then(|socket| socket.connect_addr(&address)),
        );
    }
    ways.verdict()
}

fn families(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for (name, family) in
        [("AF_ALG", libc::AF_ALG), ("AF_VSOCK", libc::AF_VSOCK), ("AF_PACKET", libc::AF_PACKET)]
    {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
            let answer = call!(libc::SYS_socket, family, kind | libc::SOCK_CLOEXEC, 0);
            ways.must_fail(name, answer.map(sys::own));
        }
        let mut pair = [0_u8; 8];
        let answer = call!(libc::SYS_socketpair, family, libc::SOCK_STREAM, 0, &mut pair[..]);
        ways.must_fail(&format!("a pair of {name}"), answer);
    }
    ways.verdict()
}

fn netlink(_: &Facts) -> Verdict {
    const HIGHEST: i32 = 31;
    let mut ways = Ways::default();
    for family in 1..=HIGHEST {
        let answer = call!(libc::SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, family);
        ways.must_fail_with(&format!("netlink {family}"), answer.map(sys::own), &[libc::EPERM]);
    }
    ways.verdict()
}

/// Newer than some C libraries know.
const IPPROTO_SMC: i32 = 256;
const IPPROTO_MPTCP: i32 = 262;

fn protocols(_: &Facts) -> Verdict {
    let mut ways = Ways::default();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (name, kind, protocol) in [
            ("MPTCP", libc::SOCK_STREAM, IPPROTO_MPTCP),
            ("SMC", libc::SOCK_STREAM, IPPROTO_SMC),
            ("SCTP", libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP),
            ("DCCP", libc::SOCK_DCCP, libc::IPPROTO_DCCP),
        ] {
            let answer = call!(libc::SYS_socket, family, kind | libc::SOCK_CLOEXEC, protocol);
            ways.must_fail_with(name, answer.map(sys::own), &[libc::EPROTONOSUPPORT]);
        }
    }
    ways.verdict()
}

/// Around the port that is the jail's own, in the range that piku takes ports from, and those that root alone may have.
fn ports(facts: &Facts) -> Verdict {
    let Some(own) = facts.number("listen").and_then(|port| u16::try_from(port).ok()) else {
        return not_told("listen");
    };
    let mut ways = Ways::default();
    for port in [80, 443, 5432, 8080, own ^ 1, own ^ 256, 20_000, 20_001, 29_999, u16::MAX] {
        for protocol in [0, libc::IPPROTO_TCP, IPPROTO_MPTCP, IPPROTO_SMC] {
            ways.must_fail(&format!("port {port}, protocol {protocol}"), bind(libc::AF_INET, protocol, port));
            ways.must_fail(
                &format!("port {port}, IPv6, protocol {protocol}"),
                bind(libc::AF_INET6, protocol, port),
            );
        }
    }
    // What is allowed must work, or the refusals say nothing.
    for port in [own, 0] {
        match bind(libc::AF_INET, 0, port) {
            // Another attack that is run at the same time may have it.
            Ok(_) | Err(libc::EADDRINUSE) => {}
            Err(errno) => {
                return Verdict::Untried(format!("cannot bind its own port {port}: {}", sys::name(errno)));
            }
        }
    }
    ways.verdict()
}

/// Binds any address of a family, and closes the socket again.
fn bind(family: i32, protocol: i32, port: u16) -> Result<usize, sys::Errno> {
    let socket = call!(libc::SYS_socket, family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, protocol)?;
    // struct sockaddr_in, or sockaddr_in6: the family, the port, zeros.
    let mut address = [0_u8; 28];
    address[..2].copy_from_slice(&u16::try_from(family).unwrap_or(0).to_ne_bytes());
    address[2..4].copy_from_slice(&port.to_be_bytes());
    let length = if family == libc::AF_INET { 16 } else { 28 };
    let answer = call!(libc::SYS_bind, socket, &address[..length], length);
    drop(sys::own(socket));
    answer
}
