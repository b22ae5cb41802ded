//! Rotates nginx's logs by the limits for the logs of instances. nginx writes them itself, so their sizes are
//! checked while they grow. An idle machine is not woken: the first write after a quiet time begins the
//! checks.

#![expect(clippy::disallowed_methods, reason = "nginx's logs, which only piku and its nginx write")]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::nginx_dir::NginxDir;
use crate::log::{RotationLimits, rotate};

/// Interval between two checks of logs that grow. A log exceeds its limit by what nginx writes meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Interval for a user who has no inotify instance left.
const BLIND_INTERVAL: Duration = Duration::from_secs(60);

/// The logs in nginx's directory and in that of the apps' logs.
#[derive(Debug)]
pub(super) struct LogRotation {
    dirs: [PathBuf; 2],
    limits: RotationLimits,
    /// `None` if the user has no inotify instance left.
    watch: Option<Inotify>,
    /// Bytes of all logs at the last check; `None` if none is due before the next write.
    bytes: Option<u64>,
    next: Instant,
}

impl LogRotation {
    pub(super) fn new(dir: &NginxDir, limits: RotationLimits) -> Self {
        let dirs = [dir.path().to_owned(), dir.logs()];
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Self { dirs, limits, watch, bytes: Some(0), next: Instant::now() }
    }

    /// Returns the descriptor that becomes readable when nginx writes to a log after a quiet time.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Handles that descriptor.
    pub(super) fn acknowledge(&mut self) {
        let _ = self.watch.as_ref().map(Inotify::read_events);
        if self.bytes.is_none() {
            self.bytes = Some(0);
            self.next = Instant::now() + CHECK_INTERVAL;
        }
    }

    /// Rotates the logs that are too long, if a check is due. Returns true if nginx has to open new ones, and
    /// the time of the next check.
    pub(super) fn rotate(&mut self) -> (bool, Option<Instant>) {
        let Some(before) = self.bytes else { return (false, None) };
        if self.next > Instant::now() {
            return (false, Some(self.next));
        }
        let (mut is_rotated, mut bytes) = (false, 0);
        for (path, length) in self.logs() {
            bytes += length;
            // A log that cannot be renamed is tried again; nginx goes on with it.
            is_rotated |= length > self.limits.bytes && rotate(&path, self.limits.keep).is_ok();
        }
        if !is_rotated && bytes == before && self.await_write() {
            self.bytes = None;
            return (false, None);
        }
        let interval = if self.watch.is_some() { CHECK_INTERVAL } else { BLIND_INTERVAL };
        self.bytes = Some(bytes);
        self.next = Instant::now() + interval;
        (is_rotated, Some(self.next))
    }

    /// Returns the paths and the lengths in bytes of the logs that nginx writes.
    fn logs(&self) -> Vec<(PathBuf, u64)> {
        let entries = self.dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        let logs = entries.filter(|entry| entry.file_name().as_encoded_bytes().ends_with(b".log"));
        logs.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len()))).collect()
    }

    /// Reports the next write, once; returns false if that is not possible.
    fn await_write(&self) -> bool {
        let Some(watch) = &self.watch else { return false };
        let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ONESHOT;
        self.dirs.iter().all(|dir| watch.add_watch(dir, events).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use piku_layout::paths::PikuRoot;

    #[test]
    fn a_log_that_grows_is_rotated_and_a_quiet_one_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let dir = NginxDir::new(&PikuRoot::new(Some(root.path().to_owned())).unwrap());
        crate::releases::current::create_dir(dir.path()).unwrap();
        dir.create().unwrap();
        let limits = RotationLimits { bytes: 10, keep: 2 };
        let mut logs = LogRotation::new(&dir, limits);
        let path = dir.logs().join("blog.error.log");
        for round in 0..4 {
            fs::write(&path, format!("round {round}, a line\n")).unwrap();
            logs.next = Instant::now();
            assert!(logs.rotate().0, "{round}");
        }
        let names = || {
            let entries = fs::read_dir(dir.logs()).unwrap().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["blog.error.log.1", "blog.error.log.2"]);
        let is_ready = |logs: &LogRotation| {
            let mut fds = [PollFd::new(logs.fd().unwrap(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
        };
        // Two checks without a change: the next write is awaited instead.
        while let (_, Some(_)) = logs.rotate() {
            logs.next = Instant::now();
        }
        logs.acknowledge();
        logs.next = Instant::now();
        while let (_, Some(_)) = logs.rotate() {
            logs.next = Instant::now();
        }
        assert!(!is_ready(&logs));
        fs::write(dir.path().join("access.log"), "a request\n").unwrap();
        assert!(is_ready(&logs));
        logs.acknowledge();
        assert!(logs.rotate().1.is_some());
    }
}
