//! Detects that the machine has run out of memory. A jail reports an instance that exceeded its own limit;
//! without memory on the machine, the instance gets only a SIGKILL, whose reason its author should learn.

use jiff::Timestamp;
use piku_files::free_space::size;
use piku_procfs::{ProcFields, oom_kills};
use piku_report::diagnostic::readable;

use crate::core::ProcessExit;

/// Number of processes that are named.
const NAMED: usize = 2;

/// Counts the processes that the kernel killed because memory ran out.
#[derive(Debug)]
pub(super) struct ShortageWatch {
    kills: u64,
    since: Timestamp,
}

impl ShortageWatch {
    pub(super) fn new() -> Self {
        Self { kills: oom_kills(), since: Timestamp::now() }
    }

    /// Counts again and explains an exit: the machine ran out of memory, and these processes use most of
    /// it. `None` if it had enough or the process was not killed.
    pub(super) fn explain_exit(&mut self, exit: ProcessExit) -> Option<String> {
        let last = std::mem::replace(self, Self::new());
        let text = explain_kills(exit, self.kills.saturating_sub(last.kills), last.since)?;
        let largest: Vec<String> = largest_processes(NAMED)
            .into_iter()
            .map(|(name, pid, bytes)| format!("{name} (process {pid}) with {}", size(bytes)))
            .collect();
        Some(if largest.is_empty() { text } else { format!("{text}; most has now {}", largest.join(", ")) })
    }
}

fn explain_kills(exit: ProcessExit, kills: u64, since: Timestamp) -> Option<String> {
    // A jail reports SIGKILL as 137.
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
        let said = explain_kills(ProcessExit::Code(137), 1, since).unwrap();
        assert!(said.ends_with("for that once since 2026-11-22T10:00:00Z"), "{said}");
        assert!(explain_kills(ProcessExit::Signal(9), 3, since).unwrap().contains("3 times"));
        for (exit, kills) in [
            (ProcessExit::Signal(9), 0),
            (ProcessExit::Code(1), 1),
            (ProcessExit::Signal(15), 1),
            (ProcessExit::Code(0), 2),
        ] {
            assert_eq!(explain_kills(exit, kills, since), None, "{exit:?}");
        }
    }

    #[test]
    fn the_largest_processes_have_names() {
        let largest = largest_processes(2);
        assert!(largest.iter().all(|(name, _, bytes)| !name.is_empty() && *bytes > 0), "{largest:?}");
        assert!(!largest.is_empty() && largest.windows(2).all(|pair| pair[0].2 >= pair[1].2), "{largest:?}");
    }
}
