//! Stopping means that the set is empty. In a jail the kernel sees to that. Without one a worker's processes are found by
//! what they cannot easily shake off: their ancestry, their session, and a mark in the environment they were started with.

#![expect(clippy::disallowed_methods, reason = "what the kernel says of processes in /proc")]

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp, getpid};
use piku_procfs::{ProcessStat, is_running, process_tree, processes};

/// The variable that marks the processes of a worker without a jail.
pub(crate) const MARK: &str = "PIKU_WORKER";

/// The looks at /proc, one after the other, that find no member before a worker counts as gone. A process that forks and ends all the
/// time is easily missed by a single one.
const EMPTY_LOOKS: u32 = 3;
/// The looks that a sweep takes at most.
const LOOKS: u32 = 200;

/// Who belongs to a worker.
#[derive(Debug, Clone)]
pub(crate) struct ProcessFamily<'a> {
    /// The process that was started.
    pub(crate) leader: Pid,
    /// The mark's value; none in a jail.
    pub(crate) mark: Option<&'a str>,
}

impl ProcessFamily<'_> {
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
        if let Some(mark) = self.mark {
            self.kill_sessions(mark, &mut BTreeSet::from([self.leader.as_raw()]));
        }
        if self.mark.is_some() || members.is_empty() {
            let _ = kill(self.leader, Signal::SIGKILL);
        }
    }

    /// Kills what the leader has left behind when it ended. Waits for it, but not for a process that the kernel holds.
    pub(crate) fn sweep(&self) {
        let Some(mark) = self.mark else { return };
        let mut sessions = BTreeSet::from([self.leader.as_raw()]);
        let mut orphans = dead_children();
        let mut empty = 0;
        for _ in 0..LOOKS {
            let found = self.kill_sessions(mark, &mut sessions);
            // Whoever was missed has left another orphan meanwhile: all orphans become children of the supervisor.
            let known = std::mem::replace(&mut orphans, dead_children());
            empty = if found || !orphans.is_subset(&known) { 0 } else { empty + 1 };
            if empty == EMPTY_LOOKS {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// Kills the processes that have the mark or are in one of the sessions, and their groups; returns whether there were any. The
    /// sessions of those found join the others. A signal to a group also reaches the child that a process forks meanwhile.
    fn kill_sessions(&self, mark: &str, sessions: &mut BTreeSet<i32>) -> bool {
        let wanted = format!("{MARK}={mark}");
        let own = getpgrp().as_raw();
        let mut found = false;
        for (pid, stat) in processes() {
            let is_member = sessions.contains(&stat.session) || !stat.is_zombie() && is_marked(pid, &wanted);
            if !is_member || pid == self.leader.as_raw() {
                continue;
            }
            // One that waits at the gate is still in our own.
            if stat.group > 1 && stat.group != own {
                sessions.insert(stat.session);
                // One that has ended still tells its group.
                let _ = killpg(Pid::from_raw(stat.group), Signal::SIGKILL);
            }
            if !stat.is_zombie() {
                found = true;
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        found
    }

    /// Whether a message from this process is one of theirs. One that has ended since cannot be asked whose it was: it
    /// knew where to send it, which only they do.
    pub(crate) fn may_speak(&self, pid: i32) -> bool {
        pid == self.leader.as_raw() || ProcessStat::read(pid).is_none() || self.members().contains(&pid)
    }

    /// Returns the processes whose trees are the worker's: without a jail a member may have left the leader's.
    pub(crate) fn roots(&self) -> Vec<i32> {
        let mut roots = vec![self.leader.as_raw()];
        if self.mark.is_some() {
            roots.extend(self.members());
        }
        roots
    }

    /// All but the leader.
    fn members(&self) -> Vec<i32> {
        let leader = self.leader.as_raw();
        let mut members = process_tree(leader);
        members.retain(|pid| *pid != leader && is_running(*pid));
        let Some(mark) = self.mark else { return members };
        let wanted = format!("{MARK}={mark}");
        for (pid, stat) in processes() {
            let known = pid == leader || members.contains(&pid) || stat.is_zombie();
            if !known && (stat.session == leader || is_marked(pid, &wanted)) {
                members.push(pid);
            }
        }
        members
    }
}

/// The children of this process that have ended and were not waited for.
fn dead_children() -> BTreeSet<i32> {
    let own = getpid().as_raw();
    processes().filter(|(_, stat)| stat.is_zombie() && stat.parent == own).map(|(pid, _)| pid).collect()
}

fn is_marked(pid: i32, wanted: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes()))
}
