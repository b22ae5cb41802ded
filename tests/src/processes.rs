//! Processes of one test server, found in /proc and ended by their ids.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Returns the ids of the processes whose command line contains `text` and whose command line, environment or
/// working directory contains `place`.
#[must_use]
pub fn find(place: &Path, text: &str) -> Vec<i32> {
    let place = place.to_str().expect("a world's folder is text");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |name: &str| {
            let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let line = read("cmdline");
        let folder = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let is_here = line.contains(place) || read("environ").contains(place) || folder.starts_with(place);
        if is_here && line.contains(text) && Ok(pid) != i32::try_from(std::process::id()) {
            found.push(pid);
        }
    }
    found
}

/// Returns the command of a shell that runs a script.
#[must_use]
pub fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Returns the children of all threads of a process; none if it has just ended.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Returns a process with all of its descendants.
#[must_use]
pub fn family(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        all.extend(children(all[at]));
        at += 1;
    }
    all
}

/// Sends SIGKILL to each; returns whether there was one.
pub fn kill_all(pids: &[i32]) -> bool {
    for pid in pids {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    !pids.is_empty()
}
