//! The search for processes that the first process of an instance without a jail has left.

#![expect(clippy::disallowed_methods, reason = "what the kernel says of processes in /proc")]

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp, getpid};
use piku_procfs::ProcessStat;

/// Environment variable that marks the processes of an instance without a jail.
pub(crate) const MARK: &str = "PIKU_WORKER";

/// Number of looks in a row without a member after which an instance counts as gone. One look alone misses
/// a process that keeps forking and exiting.
const EMPTY_LOOKS: u32 = 3;
/// Number of looks without another member after which those found count as stuck in the kernel.
const STUCK_LOOKS: u32 = 200;
/// Limit of the whole search.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// A search that kills what it finds: marked processes, their sessions and their groups. A signal to a group
/// also reaches a child that is being forked.
///
/// After its first look, which reads all processes, a look reads only those that are new. It takes less time
/// than a process needs to start another and end, also on a machine that is busy.
#[derive(Debug)]
pub(crate) struct LeftoverSearch {
    /// Environment variable of the members.
    variable: String,
    leader: i32,
    sessions: BTreeSet<i32>,
    /// Zombies, and processes that are no members, with their sessions.
    known: BTreeMap<i32, i32>,
    killed: BTreeSet<i32>,
    began: Instant,
    /// Number of looks since the last one that found another member.
    looks: u32,
}

impl LeftoverSearch {
    pub(crate) fn new(leader: Pid, mark: &str) -> Self {
        Self {
            variable: format!("{MARK}={mark}"),
            leader: leader.as_raw(),
            sessions: BTreeSet::from([leader.as_raw()]),
            known: BTreeMap::new(),
            killed: BTreeSet::new(),
            began: Instant::now(),
            looks: 0,
        }
    }

    /// Prepares for a leader whose pid belongs to another process: a session of this number is not its own.
    pub(crate) fn without_session(mut self) -> Self {
        self.sessions.clear();
        self
    }

    /// Looks and kills for about this time, at least once. Returns whether the search is over: no member is
    /// left, or those that are cannot be killed. No child may be reaped meanwhile.
    pub(crate) fn advance(&mut self, time: Duration) -> bool {
        let begin = Instant::now();
        // Between two calls children are reaped, which would have shown that a process was missed.
        let mut empty = 0;
        loop {
            empty = if self.look() { 0 } else { empty + 1 };
            if empty == EMPTY_LOOKS || self.looks > STUCK_LOOKS || self.began.elapsed() > PATIENCE {
                return true;
            }
            if empty == 0 && begin.elapsed() >= time {
                return false;
            }
            sleep(PAUSE);
        }
    }

    /// Kills the members that it finds. Returns whether there was any, or a process was missed that has become
    /// a child of this one since the last look.
    pub(crate) fn look(&mut self) -> bool {
        let pids = piku_procfs::pids();
        self.known.retain(|pid, _| pids.binary_search(pid).is_ok());
        self.looks += 1;
        let mut found = false;
        // Young processes first, before they end.
        for pid in pids.into_iter().rev() {
            if pid == self.leader
                || self.known.get(&pid).is_some_and(|session| !self.sessions.contains(session))
            {
                continue;
            }
            let Some(stat) = ProcessStat::read(pid) else { continue };
            let is_zombie = stat.is_zombie();
            let is_member = self.sessions.contains(&stat.session)
                || !is_zombie
                    && match is_marked(pid, &self.variable) {
                        Some(is_marked) => is_marked,
                        // It is being executed, or it belongs to the kernel.
                        None if stat.group != 0 => continue,
                        None => false,
                    };
            if is_member {
                self.kill(pid, &stat);
                found |= !is_zombie;
            }
            if is_zombie || !is_member {
                let is_new = self.known.insert(pid, stat.session).is_none();
                found |= is_new && is_zombie && stat.parent == getpid().as_raw();
            }
        }
        found
    }

    fn kill(&mut self, pid: i32, stat: &ProcessStat) {
        // A process that waits at the gate is still in the supervisor's group.
        if stat.group > 1 && stat.group != getpgrp().as_raw() {
            self.sessions.insert(stat.session);
            // A zombie still has its group.
            let _ = killpg(Pid::from_raw(stat.group), Signal::SIGKILL);
        }
        if !stat.is_zombie() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            if self.killed.insert(pid) {
                self.looks = 0;
            }
        }
    }
}

/// Returns whether a process has this variable in its environment; `None` if it has no environment.
pub(crate) fn is_marked(pid: i32, variable: &str) -> Option<bool> {
    // The environment of another user's process cannot be read.
    let Ok(environ) = std::fs::read(format!("/proc/{pid}/environ")) else { return Some(false) };
    let mut variables = environ.split(|b| *b == 0);
    (!environ.is_empty()).then(|| variables.any(|one| one == variable.as_bytes()))
}
