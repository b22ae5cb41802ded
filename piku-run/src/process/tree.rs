//! The process tree below a worker, as the host's /proc shows it: it holds what runs in the jail's pid namespace too.

#![expect(clippy::disallowed_methods, reason = "what the kernel says of processes in /proc")]

use std::collections::{HashMap, HashSet};
use std::fs;

/// `root` and all that descend from it, parents before children; empty when there is no such process.
pub(crate) fn of(root: u32) -> Vec<u32> {
    if parent(root).is_none() {
        return Vec::new();
    }
    let mut tree = vec![root];
    let mut seen = HashSet::from([root]);
    let mut at = 0;
    // The kernel's own lists where it has them (CONFIG_PROC_CHILDREN); else one pass over all processes.
    let mut scanned: Option<HashMap<u32, Vec<u32>>> = None;
    while let Some(&pid) = tree.get(at) {
        let children = match (&scanned, listed_children(pid)) {
            (None, Some(children)) => children,
            _ => scanned.get_or_insert_with(scan).remove(&pid).unwrap_or_default(),
        };
        // A number used again while we looked could lead in a circle.
        tree.extend(children.into_iter().filter(|child| seen.insert(*child)));
        at += 1;
    }
    tree
}

/// The children of all threads of a process; `None` where the kernel has no such lists.
fn listed_children(pid: u32) -> Option<Vec<u32>> {
    let mut children = Vec::new();
    // A process that has ended meanwhile has no children left.
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Some(children) };
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
            Err(_) if task.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

/// The children of every process.
fn scan() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return children };
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, blanks and parentheses too.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_the_same_children() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let listed = listed_children(me);
        let scanned = scan().remove(&me).unwrap_or_default();
        let tree = of(me);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(scanned.contains(&child.id()));
        assert!(listed.is_none_or(|listed| listed.contains(&child.id())));
        assert_eq!(tree[0], me);
        assert!(tree.contains(&child.id()));
    }

    #[test]
    fn there_is_no_tree_below_nobody() {
        assert!(of(0).is_empty());
        assert!(of(u32::MAX).is_empty());
    }
}
