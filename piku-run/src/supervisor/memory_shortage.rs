//! The detection of a machine that has run out of memory. If an instance reached its own limit, its jail knows; if the machine's
//! memory was at its end, the instance has only got a SIGKILL, and its author should know why.

use jiff::Timestamp;
use piku_files::free_space::size;
use piku_procfs::{ProcFields, oom_kills};
use piku_report::diagnostic::readable;

use crate::core::ProcessExit;

/// The number of the largest processes that are named.
const NAMED: usize = 2;

/// Compares how often the kernel had ended processes for want of memory, from one look to the next.
#[derive(Debug)]
pub(super) struct ShortageWatch {
    kills: u64,
    since: Timestamp,
}

impl ShortageWatch {
    pub(super) fn new() -> Self {
        Self { kills: oom_kills(), since: Timestamp::now() }
    }

    /// Looks anew, and returns what to say of a process that has ended so: that the machine had too little memory, and what has
    /// most of it. Nothing when it had enough, or the process was not killed.
    pub(super) fn look(&mut self, exit: ProcessExit) -> Option<String> {
        let last = std::mem::replace(self, Self::new());
        let text = explain(exit, self.kills.saturating_sub(last.kills), last.since)?;
        let largest: Vec<String> = largest_processes(NAMED)
            .into_iter()
            .map(|(name, pid, bytes)| format!("{name} (process {pid}) with {}", size(bytes)))
            .collect();
        Some(if largest.is_empty() { text } else { format!("{text}; most has now {}", largest.join(", ")) })
    }
}

fn explain(exit: ProcessExit, kills: u64, since: Timestamp) -> Option<String> {
    // 137 is how a jail passes it on.
    let was_killed = matches!(exit, ProcessExit::Signal(9) | ProcessExit::Code(137));
    (was_killed && kills > 0).then(|| {
        let times = if kills == 1 { "once".to_owned() } else { format!("{kills} times") };
        format!(
            "the machine has run out of memory: the kernel has ended a process for that {times} since {since:.0}"
        )
    })
}

/// Returns the processes with most resident memory, the largest first: name, pid and bytes.
fn largest_processes(most: usize) -> Vec<(String, i32, u64)> {
    let memory = |pid: i32| {
        let status = ProcFields::read(pid, "status")?;
        Some((readable(status.value("Name")?), pid, status.bytes("VmRSS")?))
    };
    let mut found: Vec<(String, i32, u64)> = piku_procfs::pids().into_iter().filter_map(memory).collect();
    found.sort_by_key(|(_, _, bytes)| std::cmp::Reverse(*bytes));
    found.truncate(most);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kill_while_the_machine_ran_out_is_explained() {
        let since: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let said = explain(ProcessExit::Code(137), 1, since).unwrap();
        assert!(said.ends_with("for that once since 2026-11-22T10:00:00Z"), "{said}");
        assert!(explain(ProcessExit::Signal(9), 3, since).unwrap().contains("3 times"));
        for (exit, kills) in [
            (ProcessExit::Signal(9), 0),
            (ProcessExit::Code(1), 1),
            (ProcessExit::Signal(15), 1),
            (ProcessExit::Code(0), 2),
        ] {
            assert_eq!(explain(exit, kills, since), None, "{exit:?}");
        }
    }

    #[test]
    fn the_largest_processes_have_names() {
        let largest = largest_processes(2);
        assert!(largest.iter().all(|(name, _, bytes)| !name.is_empty() && *bytes > 0), "{largest:?}");
        assert!(!largest.is_empty() && largest.windows(2).all(|pair| pair[0].2 >= pair[1].2), "{largest:?}");
    }
}
