//! The running nginx: its master process, which rereads the files on SIGHUP, and its workers. Old workers
//! stay until their requests have finished.

#![expect(clippy::disallowed_methods, reason = "nginx's own pid file")]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_procfs::{command_line, is_running};
use piku_report::user_error::UserError;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use super::nginx_dir::NginxDir;

/// Longest time for a reload: reading the files and starting workers.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval between two looks at the workers during a reload.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// First interval after the old workers were asked to finish, which they do at once unless the processor is busy. It
/// doubles up to [`POLL_INTERVAL`].
const FINISH_INTERVAL: Duration = Duration::from_millis(1);

/// Time without a new worker after which the reason is searched.
const LATE_RELOAD: Duration = Duration::from_secs(2);

/// Process title of a worker that accepts connections.
const SERVING: &str = "nginx: worker process";

/// Process title of a worker that accepts no new connections.
const LEAVING: &str = "nginx: worker process is shutting down";

#[derive(Debug, Clone, Copy)]
pub(super) struct NginxMaster {
    pub(super) pid: Pid,
}

/// A worker that may still send requests to the previous upstreams.
#[derive(Debug)]
pub(crate) struct OldWorker {
    pub(crate) pid: i32,
    pidfd: OwnedFd,
}

impl OldWorker {
    /// Asks the worker to accept no new connections and to end after its requests, as the master does.
    fn finish(&self) {
        // An ended worker has finished.
        let _ = pidfd_send_signal(&self.pidfd, rustix::process::Signal::QUIT);
    }
}

impl AsFd for OldWorker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl NginxMaster {
    /// Finds the master by the pid file.
    pub(super) fn find(dir: &NginxDir) -> Option<Self> {
        let pid: i32 = fs::read_to_string(dir.pid_file()).ok()?.trim().parse().ok()?;
        // Another process may have the pid by now. Our nginx shows the path of its file in its title.
        let is_master = command_line(pid).contains(&dir.main_conf().display().to_string()) && is_running(pid);
        is_master.then_some(Self { pid: Pid::from_raw(pid) })
    }

    /// Returns the pids of its workers, including those that are just starting.
    pub(super) fn workers(self) -> Vec<i32> {
        let is_worker = |pid: &i32| is_running(*pid) && !command_line(*pid).starts_with("nginx: cache ");
        piku_procfs::children(self.pid.as_raw()).into_iter().filter(is_worker).collect()
    }

    /// Returns the workers that accept no new connections and finish their requests.
    pub(super) fn leaving_workers(self) -> Vec<OldWorker> {
        open_workers(self.leaving_pids().into_iter())
    }

    /// Returns the pids of those workers.
    pub(super) fn leaving_pids(self) -> Vec<i32> {
        self.workers().into_iter().filter(|pid| is_leaving(*pid)).collect()
    }

    /// Reloads the files. Returns the previous workers once none of them accepts new connections. On an error
    /// nginx keeps its previous configuration. If it is late, `diagnose` returns the reason as an error.
    pub(super) fn reload(
        self,
        dir: &NginxDir,
        diagnose: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<OldWorker>> {
        let old = open_workers(self.workers().into_iter());
        let count = old.iter().filter(|worker| !is_leaving(worker.pid)).count();
        kill(self.pid, Signal::SIGHUP).context("cannot signal nginx to reload")?;
        let since = Instant::now();
        let mut pause = POLL_INTERVAL;
        let mut asked_to_finish = false;
        let mut diagnose = Some(diagnose);
        loop {
            let workers = self.workers();
            if !workers.is_empty() && old.iter().all(|worker| is_leaving(worker.pid)) {
                return Ok(old);
            }
            if !is_running(self.pid.as_raw()) {
                // It reads the files when it is started again.
                return Ok(old);
            }
            let is_new = |pid: &&i32| old.iter().all(|worker| worker.pid != **pid);
            let new: Vec<&i32> = workers.iter().filter(is_new).collect();
            if new.is_empty() && since.elapsed() > LATE_RELOAD {
                diagnose.take().map_or(Ok(()), |diagnose| diagnose())?;
            } else if new.len() >= count.max(1) && new.iter().all(|pid| command_line(**pid) == SERVING) {
                // The master gives the new workers 100 ms to start before it has the old ones finish. They have
                // all started: the old ones need not wait. A worker that starts later would look like one of
                // the next reload.
                old.iter().filter(|worker| !is_leaving(worker.pid)).for_each(OldWorker::finish);
                pause = if asked_to_finish { POLL_INTERVAL.min(pause * 2) } else { FINISH_INTERVAL };
                asked_to_finish = true;
            }
            if since.elapsed() > RELOAD_TIMEOUT {
                let what = "nginx does not load its new configuration";
                let hint = format!("the reason is in '{}'", dir.error_log().display());
                return Err(UserError::new(what).hint(hint).into());
            }
            sleep(pause);
        }
    }

    /// Returns true if a worker accepts connections.
    pub(super) fn is_serving(self) -> bool {
        self.workers().iter().any(|pid| command_line(*pid) == SERVING)
    }
}

/// Returns true for a worker that is shutting down or has ended.
fn is_leaving(pid: i32) -> bool {
    let title = command_line(pid);
    title.is_empty() || title == LEAVING
}

fn open_workers(pids: impl Iterator<Item = i32>) -> Vec<OldWorker> {
    let open = |pid: i32| {
        let pidfd = pidfd_open(rustix::process::Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(OldWorker { pid, pidfd })
    };
    pids.filter_map(open).collect()
}
