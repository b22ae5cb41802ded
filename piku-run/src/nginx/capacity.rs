//! Number of connections for nginx on this machine, and the share that one app may use.

use rustix::process::{Resource, getrlimit};

/// Memory in bytes that one connection may use with its buffers and those to the app.
const CONNECTION_BYTES: u64 = 128 << 10;

/// Fewer are too few on any machine; more reserve memory before the first request.
const MIN_CONNECTIONS: u64 = 1024;
const MAX_CONNECTIONS: u64 = 32_768;

/// Divisor for one app's share. A proxied request uses two connections, and all requests of an app may be in
/// one worker process: it leaves half of that process to the other apps.
const APP_DIVISOR: u32 = 4;

/// Returns the connections of each nginx worker process, limited by the machine's memory and by the open
/// files of this process, which nginx inherits.
pub(super) fn worker_connections() -> u32 {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    connections_for(total_memory().unwrap_or(0), files)
}

fn connections_for(memory: u64, files: u64) -> u32 {
    // Two descriptors a connection: a file that is being sent is open too.
    let connections =
        (memory / CONNECTION_BYTES).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS).min(files / 2).max(64);
    u32::try_from(connections).unwrap_or(1024)
}

/// Returns the limit on concurrent requests to one app.
pub(super) fn app_connections(connections: u32) -> u32 {
    (connections / APP_DIVISOR).max(1)
}

/// Returns the `worker_connections` of a rendered file.
pub(super) fn parse_connections(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("worker_connections "))?;
    line.strip_suffix(';')?.parse().ok()
}

/// Returns the machine's memory in bytes.
fn total_memory() -> Option<u64> {
    piku_procfs::meminfo()?.bytes("MemTotal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_open_files_limit_the_connections() {
        assert_eq!(connections_for(512 << 20, 65_536), 4096);
        assert_eq!(connections_for(8 << 30, 65_536), 32_768);
        assert_eq!(connections_for(8 << 30, 1024), 512);
        assert_eq!(connections_for(64 << 20, 1 << 20), 1024);
        assert_eq!((app_connections(4096), app_connections(4)), (1024, 1));
        assert!(total_memory().is_some());
    }

    #[test]
    fn rendered_connections_are_parsed() {
        assert_eq!(parse_connections("events {\n    worker_connections 4096;\n}\n"), Some(4096));
        assert_eq!(parse_connections("events {}"), None);
    }
}
