//! The running daemon, which other programs tell that it has something to do.

#![expect(clippy::disallowed_methods, reason = "the daemon's lock, which only piku writes")]

use std::fs::{self, File};

use piku_files::FileLock;
use rustix::process::{Pid, Signal, kill_process};

use crate::paths::PikuRoot;

/// Has the daemon look again for work that it does at its start and rarely otherwise, such as missed releases.
pub fn wake_daemon(root: &PikuRoot) {
    let path = root.daemon_lock();
    // A pid in a file that nobody locks may be that of any process by now.
    if !File::open(&path).and_then(FileLock::is_held).unwrap_or(false) {
        return;
    }
    let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::HUP);
    }
}
