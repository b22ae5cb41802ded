//! Reads /proc: processes, their relations, and the memory of the machine.
//!
//! Every read is a snapshot: a process may end, and its pid may be used again, before the caller looks at the
//! result. Only pid, start time and boot id together identify a process.

mod fields;
mod stat;
mod tree;

use std::fs::{self, File};
use std::io::{self, Read};

pub use fields::{ProcFields, meminfo, oom_kills};
pub use stat::{ProcessStat, boot_id, is_dying, is_running, uptime};
pub use tree::{children, process_tree};

/// Size of a buffer that holds most files of /proc, so that one call reads them.
const MOST_FILES: usize = 4096;

/// Reads a file of /proc. All of them have a size of 0, for which [`fs::read`] begins with a buffer of 32 bytes
/// and needs many calls.
pub fn read_file(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(MOST_FILES);
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the pids of all processes in ascending order.
#[must_use]
pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// Iterates over all processes, the highest pid first. Each is read when the iterator reaches it, so that
/// young processes, which may end soon, are seen before they end.
pub fn processes() -> impl Iterator<Item = (i32, ProcessStat)> {
    pids().into_iter().rev().filter_map(|pid| Some((pid, ProcessStat::read(pid)?)))
}

/// Returns the name of a process's program, at most 15 bytes, without control characters; empty if the
/// process has ended. The program can change it.
#[must_use]
pub fn command_name(pid: i32) -> String {
    let bytes = read_file(&format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).collect()
}

/// Returns the command line of a process, its arguments separated by blanks; empty if the process has ended.
#[must_use]
pub fn command_line(pid: i32) -> String {
    let bytes = read_file(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}
