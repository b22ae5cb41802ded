//! Sockets that lead to somebody with more rights, and kinds of sockets that lead into rarely tried parts of the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

use crate::facts::Facts;
use crate::row::Row;
use crate::sys::{self, call};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 3] = [
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
