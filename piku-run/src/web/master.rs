//! The nginx that runs: its master, which reads the files again on SIGHUP, and its workers, the old of which go on until
//! their requests have ended.

#![expect(
    clippy::disallowed_methods,
    reason = "nginx's own pid file, and what the kernel says of it in /proc"
)]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_report::user_error::UserError;
use rustix::process::{PidfdFlags, pidfd_open};

use super::sites_folder::SitesFolder;
use crate::process::{self, ProcessStat};

/// How long a master may take to read its files and start workers.
const PATIENCE: Duration = Duration::from_secs(60);

/// The title of a worker that takes no new connections.
const LEAVING: &str = "nginx: worker process is shutting down";

/// A running master.
#[derive(Debug, Clone, Copy)]
pub(super) struct NginxMaster {
    pub(super) pid: Pid,
}

/// A worker that may still send requests to where they went before.
#[derive(Debug)]
pub(crate) struct OldWorker {
    pub(crate) pid: i32,
    pidfd: OwnedFd,
}

impl AsFd for OldWorker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl NginxMaster {
    /// The one whose number is in the folder, if it is one.
    pub(super) fn find(folder: &SitesFolder) -> Option<Self> {
        let pid: i32 = fs::read_to_string(folder.pid()).ok()?.trim().parse().ok()?;
        // The number may be somebody else's by now. An nginx has its own file in its title.
        let is_it = title(pid).contains(&folder.main().display().to_string())
            && ProcessStat::of(pid).is_some_and(|stat| !stat.is_dead());
        is_it.then_some(Self { pid: Pid::from_raw(pid) })
    }

    /// Its workers, and what has just been started and is about to be one.
    fn workers(self) -> Vec<i32> {
        let parent = self.pid.as_raw();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).map_or_else(
            // Not every kernel tells.
            |_| process::all().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| pid).collect(),
            |text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>(),
        );
        let is_worker = |pid: &i32| {
            ProcessStat::of(*pid).is_some_and(|stat| !stat.is_dead())
                && !title(*pid).starts_with("nginx: cache ")
        };
        children.into_iter().filter(is_worker).collect()
    }

    /// Those that take no new connections already, and go on with what they have.
    pub(super) fn leaving(self) -> Vec<OldWorker> {
        open(self.workers().into_iter().filter(|pid| is_leaving(*pid)))
    }

    /// Has it read the files again. When this returns, no worker of before takes new connections; they are returned. An error
    /// when that does not come about: nginx goes on with what it had.
    pub(super) fn reload(self, folder: &SitesFolder) -> anyhow::Result<Vec<OldWorker>> {
        let old = open(self.workers().into_iter());
        kill(self.pid, Signal::SIGHUP).context("cannot tell nginx to read its files")?;
        let since = Instant::now();
        while !old.iter().all(|one| is_leaving(one.pid)) || self.workers().is_empty() {
            if ProcessStat::of(self.pid.as_raw()).is_none_or(|stat| stat.is_dead()) {
                // Whoever starts it again has it read them.
                return Ok(old);
            }
            if since.elapsed() > PATIENCE {
                let what = "nginx does not take up its new configuration";
                let hint = format!("its reason is in '{}'", folder.error_log().display());
                return Err(UserError::new(what).hint(hint).into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(old)
    }

    /// Whether it has workers that take connections.
    pub(super) fn serves(self) -> bool {
        self.workers().iter().any(|pid| title(*pid) == "nginx: worker process")
    }
}

/// Also one that has ended.
fn is_leaving(pid: i32) -> bool {
    let title = title(pid);
    title.is_empty() || title == LEAVING
}

/// What a process calls itself; empty when there is none, or when it is dead.
fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

fn open(pids: impl Iterator<Item = i32>) -> Vec<OldWorker> {
    let one = |pid: i32| {
        let pidfd = pidfd_open(rustix::process::Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(OldWorker { pid, pidfd })
    };
    pids.filter_map(one).collect()
}
