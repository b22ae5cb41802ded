//! Limits the old workers of nginx. A reload replaces all workers; an old one stays as long as it has a
//! connection, such as the websocket of an app that did not change. Each costs memory, so beyond a limit
//! those with the fewest connections are ended.
//!
//! Only the service does this: it has nginx's capabilities, without which the kernel hides the connections of
//! the workers.

#![expect(clippy::disallowed_methods, reason = "the descriptors of nginx's workers in /proc")]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_layout::settings::NginxSettings;
use piku_procfs::{ProcFields, meminfo};

use super::master::NginxMaster;

/// Divisor for the share of the machine's memory that old workers may use together.
const MEMORY_DIVISOR: u64 = 16;

/// Limits on all old workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WorkerLimits {
    count: usize,
    /// In bytes.
    memory: u64,
}

impl WorkerLimits {
    fn of_host(settings: &NginxSettings) -> Self {
        let total = meminfo().and_then(|memory| memory.bytes("MemTotal"));
        Self {
            count: usize::try_from(settings.max_old_workers).unwrap_or(usize::MAX),
            memory: total.map_or(u64::MAX, |total| total / MEMORY_DIVISOR),
        }
    }
}

/// The use of one old worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WorkerUsage {
    pid: i32,
    /// TCP sockets, including those to the apps.
    sockets: usize,
    /// Proportional share of memory in bytes.
    memory: u64,
}

impl WorkerUsage {
    /// `connections` are the inodes of the machine's TCP sockets.
    fn read(pid: i32, connections: &HashSet<String>) -> Self {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let is_connection = |link: &fs::DirEntry| {
            let target = fs::read_link(link.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
            inode.is_some_and(|inode| connections.contains(inode))
        };
        let memory = ProcFields::read(pid, "smaps_rollup").and_then(|fields| fields.bytes("Pss"));
        Self { pid, sockets: links.filter(is_connection).count(), memory: memory.unwrap_or(0) }
    }
}

/// Returns the inodes of the machine's TCP sockets.
fn tcp_sockets() -> HashSet<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inode = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
    tables.iter().flat_map(|table| table.lines().skip(1).filter_map(inode)).collect()
}

/// The old workers that the service knows, and when each was first seen.
#[derive(Debug, Default)]
pub(super) struct OldWorkerMonitor {
    since: BTreeMap<i32, Instant>,
}

impl OldWorkerMonitor {
    /// Ends the old workers beyond the limits, and reports each to `log`. One that was replaced less than the
    /// drain time ago finishes its requests first. Returns the time of the next check, if one is due.
    pub(super) fn enforce_limits(
        &mut self,
        master: NginxMaster,
        settings: &NginxSettings,
        log: impl Fn(&str),
    ) -> Option<Instant> {
        let now = Instant::now();
        let drain = Duration::from_secs(u64::from(settings.drain));
        let leaving = master.leaving_pids();
        self.since.retain(|pid, _| leaving.contains(pid));
        for pid in leaving {
            self.since.entry(pid).or_insert(now);
        }
        let is_settled = |since: &Instant| now.saturating_duration_since(*since) >= drain;
        let settled = self.since.iter().filter(|(_, since)| is_settled(since));
        let settled: Vec<i32> = settled.map(|(pid, _)| *pid).collect();
        let connections = if settled.is_empty() { HashSet::new() } else { tcp_sockets() };
        let settled = settled.into_iter().map(|pid| WorkerUsage::read(pid, &connections)).collect();
        let limits = WorkerLimits::of_host(settings);
        for surplus in surplus_workers(settled, limits) {
            log(&format!(
                "ended an old nginx worker with {} connections from before a deploy: at most {} old workers and \
                 {} MiB are kept for them ('max_old_workers' in host.yaml)",
                // A proxied request has two sockets.
                surplus.sockets.div_ceil(2),
                limits.count,
                limits.memory >> 20,
            ));
            let _ = kill(Pid::from_raw(surplus.pid), Signal::SIGTERM);
        }
        self.since.values().filter(|since| !is_settled(since)).min().map(|since| *since + drain)
    }
}

/// Returns the workers to end, those with the fewest sockets, so that the others meet the limits.
fn surplus_workers(mut workers: Vec<WorkerUsage>, limits: WorkerLimits) -> Vec<WorkerUsage> {
    workers.sort_by_key(|worker| worker.sockets);
    let mut memory: u64 = workers.iter().map(|worker| worker.memory).sum();
    let mut count = workers.len();
    workers.retain(|worker| {
        let is_surplus = count > limits.count || memory > limits.memory;
        if is_surplus {
            count -= 1;
            memory -= worker.memory;
        }
        is_surplus
    });
    workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_with_the_fewest_connections_are_surplus() {
        let workers =
            [(1, 40), (2, 2), (3, 7)].map(|(pid, sockets)| WorkerUsage { pid, sockets, memory: 10 });
        let ended = |count, memory| -> Vec<i32> {
            let limits = WorkerLimits { count, memory };
            surplus_workers(workers.to_vec(), limits).iter().map(|worker| worker.pid).collect()
        };
        assert_eq!(ended(3, 30), [0; 0]);
        assert_eq!(ended(2, 30), [2]);
        assert_eq!(ended(3, 10), [2, 3]);
        assert_eq!(ended(0, 30), [2, 3, 1]);
    }
}
