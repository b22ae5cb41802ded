//! Processes that may still send an app's requests to a port that the app has left: old workers of nginx.
//! They are recorded in the port's lock file, so that no other app gets the port before all of them have
//! ended, not even when the supervisor that reserved it was killed.

#![expect(clippy::disallowed_methods, reason = "locks of ports, which only piku writes")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;
use piku_layout::paths::PikuRoot;
use piku_procfs::ProcessStat;

fn path(root: &PikuRoot, port: u16) -> PathBuf {
    root.ports().join(port.to_string())
}

/// Records the processes that may send requests to this port.
///
/// # Errors
/// Fails if the file of the port cannot be written.
pub(crate) fn record(root: &PikuRoot, port: u16, pids: &[i32]) -> anyhow::Result<()> {
    super::make_folder(root)?;
    let path = path(root, port);
    let line = |pid: &i32| Some(format!("{pid} {}\n", ProcessStat::read(*pid)?.start));
    let lines: String = pids.iter().filter_map(line).collect();
    // In place: the lock belongs to the inode.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(lines.as_bytes()))
        .with_context(|| format!("cannot write '{}'", path.display()))
}

/// Returns true if one of the recorded processes is running.
pub(crate) fn is_any_alive(root: &PikuRoot, port: u16) -> bool {
    let text = fs::read_to_string(path(root, port)).unwrap_or_default();
    text.lines().any(|line| {
        let Some((pid, start)) = line.split_once(' ') else { return false };
        let process = pid.parse().ok().and_then(ProcessStat::read);
        process.is_some_and(|process| !process.is_zombie() && process.start.to_string() == start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_port_has_senders_as_long_as_they_run() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let mut sender = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(sender.id()).unwrap();
        record(&root, 20_000, &[pid]).unwrap();
        assert!(is_any_alive(&root, 20_000) && !is_any_alive(&root, 20_001));
        drop(sender.stdin.take());
        sender.wait().unwrap();
        assert!(!is_any_alive(&root, 20_000));
        record(&root, 20_000, &[]).unwrap();
        assert!(!is_any_alive(&root, 20_000));
    }
}
