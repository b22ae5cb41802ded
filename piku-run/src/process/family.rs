//! Termination of all processes of an instance. A jail ends with its first process; without one, members
//! are found by what they cannot easily shed: their ancestry, their session, and a variable in their
//! environment.

#![expect(clippy::disallowed_methods, reason = "what the kernel says of processes in /proc")]

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp, getpid};
use piku_procfs::{ProcessStat, is_running, process_tree, processes};

/// Environment variable that marks the processes of an instance without a jail.
pub(crate) const MARK: &str = "PIKU_WORKER";

/// Number of scans of /proc in a row without a member after which an instance counts as gone. One scan
/// alone misses a process that keeps forking and exiting.
const EMPTY_LOOKS: u32 = 3;
/// Largest number of scans.
const LOOKS: u32 = 200;

/// All processes of an instance.
#[derive(Debug, Clone)]
pub(crate) struct ProcessFamily<'a> {
    /// First process.
    pub(crate) leader: Pid,
    /// Value of the mark; `None` in a jail.
    pub(crate) mark: Option<&'a str>,
}

impl ProcessFamily<'_> {
    /// Sends SIGTERM to the process group; a jail's monitor forwards it to the group inside.
    pub(crate) fn terminate(&self) {
        let target = if self.mark.is_some() { Pid::from_raw(-self.leader.as_raw()) } else { self.leader };
        // A process that waits at the gate has no group yet; one that has ended needs no signal.
        if kill(target, Signal::SIGTERM).is_err() {
            let _ = kill(self.leader, Signal::SIGTERM);
        }
    }

    /// Sends SIGKILL to all members. The leader of a jail ends once all others are gone.
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

    /// Kills the processes that an ended leader has left, and waits for their end, except for processes
    /// stuck in the kernel.
    pub(crate) fn kill_leftovers(&self) {
        let Some(mark) = self.mark else { return };
        let mut sessions = BTreeSet::from([self.leader.as_raw()]);
        let mut orphans = dead_children();
        let mut empty = 0;
        for _ in 0..LOOKS {
            let found = self.kill_sessions(mark, &mut sessions);
            // A member that the scan missed has become a child of the supervisor meanwhile.
            let known = std::mem::replace(&mut orphans, dead_children());
            empty = if found || !orphans.is_subset(&known) { 0 } else { empty + 1 };
            if empty == EMPTY_LOOKS {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// Kills marked processes, members of `sessions` and their groups; returns whether any was found.
    /// Sessions of those found are added to `sessions`. A signal to a group also reaches a child that is
    /// being forked.
    fn kill_sessions(&self, mark: &str, sessions: &mut BTreeSet<i32>) -> bool {
        let wanted = format!("{MARK}={mark}");
        let own = getpgrp().as_raw();
        let mut found = false;
        for (pid, stat) in processes() {
            let is_member = sessions.contains(&stat.session) || !stat.is_zombie() && is_marked(pid, &wanted);
            if !is_member || pid == self.leader.as_raw() {
                continue;
            }
            // A process that waits at the gate is still in the supervisor's group.
            if stat.group > 1 && stat.group != own {
                sessions.insert(stat.session);
                // A zombie still has its group.
                let _ = killpg(Pid::from_raw(stat.group), Signal::SIGKILL);
            }
            if !stat.is_zombie() {
                found = true;
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        found
    }

    /// Returns whether to accept a message from this process. A sender that has ended cannot be checked; it
    /// knew the socket, which only members do.
    pub(crate) fn may_notify(&self, pid: i32) -> bool {
        pid == self.leader.as_raw() || ProcessStat::read(pid).is_none() || self.members().contains(&pid)
    }

    /// Returns the roots of the process trees that contain all members: without a jail, a member may have
    /// left the leader's tree.
    pub(crate) fn roots(&self) -> Vec<i32> {
        let mut roots = vec![self.leader.as_raw()];
        if self.mark.is_some() {
            roots.extend(self.members());
        }
        roots
    }

    /// Returns all members except the leader.
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

/// Returns the zombie children of this process.
fn dead_children() -> BTreeSet<i32> {
    let own = getpid().as_raw();
    processes().filter(|(_, stat)| stat.is_zombie() && stat.parent == own).map(|(pid, _)| pid).collect()
}

fn is_marked(pid: i32, wanted: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes()))
}
