//! Ends nginx's connections to a machine that is lost. Nothing tells nginx that its requests there get no
//! answer; without this, their clients would wait for minutes. nginx repeats those that it may on another
//! machine.

use std::net::SocketAddr;

use piku_layout::paths::PikuRoot;
use rustix::net::Shutdown;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::nginx::worker_pids;
use crate::ports::connections;

/// Shuts down the connections of nginx's workers to this address. Where the kernel lets no process touch another
/// one's descriptors (Yama's `ptrace_scope`), they stay until they time out.
pub(super) fn end_connections(root: &PikuRoot, address: SocketAddr) {
    let inodes = connections::connections_to(address);
    if inodes.is_empty() {
        return;
    }
    for pid in worker_pids(root) {
        let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            continue;
        };
        for (descriptor, inode) in connections::socket_descriptors(pid) {
            if !inodes.contains(&inode) {
                continue;
            }
            if let Ok(socket) = pidfd_getfd(&pidfd, descriptor, PidfdGetfdFlags::empty()) {
                // By now it may be another socket.
                let is_same = rustix::net::getpeername(&socket)
                    .ok()
                    .flatten()
                    .and_then(|peer| SocketAddr::try_from(peer).ok())
                    .is_some_and(|peer| connections::is_same_address(peer, address));
                if is_same {
                    let _ = rustix::net::shutdown(&socket, Shutdown::Both);
                }
            }
        }
    }
}
