//! The processes of a starting instance: their sockets, their processor time, their names.

use std::time::Duration;

use piku_procfs::{ProcessStat, command_name, process_tree};

use crate::core::{ObservedProcess, StartObservation};
use crate::ports::listening::OwnedSockets;

/// Most processes of an instance that are looked at: an app may start thousands.
const MAX_PROCESSES: usize = 500;

/// Looks at the process trees below `roots`.
#[must_use]
pub(crate) fn observe_processes(roots: &[i32]) -> StartObservation {
    let mut pids: Vec<i32> = roots.iter().flat_map(|root| process_tree(*root)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.truncate(MAX_PROCESSES);
    let stats: Vec<(i32, ProcessStat)> =
        pids.into_iter().filter_map(|pid| Some((pid, ProcessStat::read(pid)?))).collect();
    let running = stats.iter().filter(|(_, stat)| !stat.is_zombie());
    StartObservation {
        listeners: OwnedSockets::of(roots).listeners(),
        cpu: stats.iter().map(|(_, stat)| stat.cpu_time()).sum::<Duration>(),
        is_asleep: running.clone().next().is_some() && running.clone().all(|(_, stat)| stat.state == 'S'),
        is_runnable: running.clone().any(|(_, stat)| stat.state == 'R'),
        waits_for_disk: running.clone().any(|(_, stat)| stat.state == 'D'),
        processes: running
            .map(|(pid, stat)| ObservedProcess { pid: *pid, parent: stat.parent, name: command_name(*pid) })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_seen_with_its_children_and_the_time_they_used() {
        let mut child = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 60; :"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut seen = StartObservation::default();
        for _ in 0..1000 {
            seen = observe_processes(&[pid, pid]);
            if seen.processes.iter().any(|one| one.name == "sleep") {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for one in seen.processes.iter().rev() {
            let pid = nix::unistd::Pid::from_raw(one.pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        child.wait().unwrap();
        let names: Vec<&str> = seen.processes.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names.len(), 2, "{seen:?}");
        assert_eq!(seen.processes.iter().find(|one| one.name == "sleep").unwrap().parent, pid);
        assert!(seen.cpu > Duration::ZERO, "{seen:?}");
        assert_eq!(observe_processes(&[i32::MAX]), StartObservation::default());
    }
}
