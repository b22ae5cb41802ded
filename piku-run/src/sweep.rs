//! Stopping means that the set is empty. In a jail the kernel sees to that. Without one a worker's processes are found by
//! what they cannot easily shake off: their ancestry, their session, and a mark in the environment they were started with.

#![expect(clippy::disallowed_methods, reason = "what the kernel says of processes in /proc")]

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{self, Stat};
use crate::tree;

/// The variable that marks the processes of a worker without a jail.
pub(crate) const MARK: &str = "PIKU_WORKER";

/// Who belongs to a worker.
#[derive(Debug, Clone)]
pub(crate) struct Family<'a> {
    /// The process that was started.
    pub(crate) leader: Pid,
    /// The mark's value; none in a jail.
    pub(crate) mark: Option<&'a str>,
}

impl Family<'_> {
    /// SIGTERM to the worker's own group; a jail's monitor passes it on to the group inside.
    pub(crate) fn terminate(&self) {
        let target = if self.mark.is_some() { Pid::from_raw(-self.leader.as_raw()) } else { self.leader };
        // One that has just ended is as good as stopped. One that still waits at the gate has no group yet.
        if kill(target, Signal::SIGTERM).is_err() {
            let _ = kill(self.leader, Signal::SIGTERM);
        }
    }

    /// SIGKILL to all of them. The leader of a jail goes by itself when all others are gone: it leaves last.
    pub(crate) fn kill(&self) {
        let members = self.members();
        for pid in &members {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if self.mark.is_some() || members.is_empty() {
            let _ = kill(self.leader, Signal::SIGKILL);
        }
    }

    /// Kills what the leader has left behind when it ended. Waits for it, but not for a process that the kernel holds.
    pub(crate) fn sweep(&self) {
        if self.mark.is_none() {
            return;
        }
        for _ in 0..200 {
            let members = self.members();
            if members.is_empty() {
                return;
            }
            for pid in members {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// Whether a message from this process is one of theirs. One that has ended since cannot be asked whose it was: it
    /// knew where to send it, which only they do.
    pub(crate) fn may_speak(&self, pid: i32) -> bool {
        pid == self.leader.as_raw() || Stat::of(pid).is_none() || self.members().contains(&pid)
    }

    /// Returns the processes whose trees are the worker's: without a jail a member may have left the leader's.
    pub(crate) fn roots(&self) -> Vec<u32> {
        let mut roots = vec![self.leader.as_raw().unsigned_abs()];
        if self.mark.is_some() {
            roots.extend(self.members().into_iter().map(i32::unsigned_abs));
        }
        roots
    }

    /// All but the leader.
    fn members(&self) -> Vec<i32> {
        let leader = self.leader.as_raw();
        let mut members: Vec<i32> =
            tree::of(leader.unsigned_abs()).into_iter().filter_map(|pid| pid.try_into().ok()).collect();
        members.retain(|pid| *pid != leader && Stat::of(*pid).is_some_and(|stat| !stat.is_dead()));
        let Some(mark) = self.mark else { return members };
        let wanted = format!("{MARK}={mark}");
        for (pid, stat) in process::all() {
            let known = pid == leader || members.contains(&pid) || stat.is_dead();
            if !known && (stat.session == leader || is_marked(pid, &wanted)) {
                members.push(pid);
            }
        }
        members
    }
}

fn is_marked(pid: i32, wanted: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes()))
}
