//! Processes of a world's server by their roles.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use piku_tests::processes;
use piku_tests::world::World;

/// Returns all processes of the server except sshd's, each with its role.
pub(super) fn server_processes(world: &World) -> Vec<(i32, &'static str)> {
    let mut pids: BTreeSet<i32> = processes::find(&world.root(), "").into_iter().collect();
    // Processes inside a jail do not name the world.
    loop {
        let below: Vec<i32> = pids.iter().flat_map(|pid| processes::children(*pid)).collect();
        let before = pids.len();
        pids.extend(below);
        if pids.len() == before {
            break;
        }
    }
    pids.into_iter().filter_map(|pid| Some((pid, role_of(pid)?))).collect()
}

/// Returns the role of a process; `None` if it has just ended or is not part of the server.
fn role_of(pid: i32) -> Option<&'static str> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, state) = state.rsplit_once(") ")?;
    if state.starts_with('Z') || line.is_empty() {
        return None;
    }
    let is_inner = fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|root| root != Path::new("/"))
        || fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| is_namespaced(&status));
    let has = |text: &str| line.contains(text);
    Some(match () {
        () if has("sshd") => return None,
        () if has("piku-chroot") => {
            if is_inner {
                "stub"
            } else {
                "monitor"
            }
        }
        () if has("launch --") => "launch",
        () if has("daemon") => "daemon",
        () if has("supervise blog") => "supervisor",
        () if has("piku-build") => "piku-build",
        () if has("post-receive") => "hook",
        () if has("piku-receive record") => "record",
        () if has("receive-pack") || has("index-pack") || has("unpack-objects") => "git",
        () if has("piku-receive") => "piku-receive",
        () if has("piku-run") => "piku-run",
        () if is_inner && (has("serve") || has("sleep 86399")) => "worker",
        () if is_inner => "step",
        () => "other",
    })
}

/// Returns whether the process is in a pid namespace of its own.
fn is_namespaced(status: &str) -> bool {
    status
        .lines()
        .any(|line| line.strip_prefix("NSpid:").is_some_and(|ids| ids.split_whitespace().count() > 1))
}
