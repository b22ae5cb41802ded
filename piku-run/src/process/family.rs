//! Termination of all processes of an instance. A jail ends with its first process; without one, members
//! are found by what they cannot easily shed: their ancestry, their session, and a variable in their
//! environment.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_procfs::{ProcessStat, is_running, process_tree, processes};

use super::leftovers::{LeftoverSearch, MARK, is_marked};

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
        if let Some(mut search) = self.search_leftovers() {
            search.look();
        }
        if self.mark.is_some() || members.is_empty() {
            let _ = kill(self.leader, Signal::SIGKILL);
        }
    }

    /// Returns the search for processes that the leader leaves; `None` for a jail, which leaves none.
    pub(crate) fn search_leftovers(&self) -> Option<LeftoverSearch> {
        self.mark.map(|mark| LeftoverSearch::new(self.leader, mark))
    }

    /// Kills the processes that an ended leader has left, and waits for their end, except for processes
    /// stuck in the kernel.
    pub(crate) fn kill_leftovers(&self) {
        let Some(search) = self.search_leftovers() else { return };
        let is_other = is_running(self.leader.as_raw());
        let mut search = if is_other { search.without_session() } else { search };
        search.advance(Duration::MAX);
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
            if !known && (stat.session == leader || is_marked(pid, &wanted) == Some(true)) {
                members.push(pid);
            }
        }
        members
    }
}
