//! The number of connections that nginx has room for on this machine, and the part of them that one app may take.

#![expect(clippy::disallowed_methods, reason = "what the kernel says of memory in /proc")]

use std::fs;

use rustix::process::{Resource, getrlimit};

/// The memory of the machine that one connection may take, in bytes: with its buffers, and those to the app.
const BYTES: u64 = 128 << 10;

/// Fewer serve nobody; more take memory before anybody has come.
const LEAST: u64 = 1024;
const MOST: u64 = 32_768;

/// The divisor that gives one app's part of them: each request that is passed on takes two, and they need not be spread over
/// the worker processes.
const SHARE: u32 = 8;

/// Returns how many connections each worker process of nginx may have: by the memory of the machine, and by the open files that
/// this process, and so an nginx that it starts, may have.
pub(super) fn worker_connections() -> u32 {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    by(memory().unwrap_or(0), files)
}

fn by(memory: u64, files: u64) -> u32 {
    // Twice as many files: those that are sent are open, too.
    let most = (memory / BYTES).clamp(LEAST, MOST).min(files / 2).max(64);
    u32::try_from(most).unwrap_or(1024)
}

/// Returns how many requests to one app may be under way at once.
pub(super) fn share(connections: u32) -> u32 {
    (connections / SHARE).max(1)
}

/// Returns the `worker_connections` of a rendered file.
pub(super) fn in_file(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("worker_connections "))?;
    line.strip_suffix(';')?.parse().ok()
}

/// The memory of the machine in bytes.
fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_has_room_for_fewer() {
        assert_eq!(by(512 << 20, 65_536), 4096);
        assert_eq!(by(8 << 30, 65_536), 32_768);
        assert_eq!(by(8 << 30, 1024), 512);
        assert_eq!(by(64 << 20, 1 << 20), 1024);
        assert_eq!((share(4096), share(4)), (512, 1));
        assert!(memory().is_some());
    }

    #[test]
    fn what_is_rendered_is_read_back() {
        assert_eq!(in_file("events {\n    worker_connections 4096;\n}\n"), Some(4096));
        assert_eq!(in_file("events {}"), None);
    }
}
