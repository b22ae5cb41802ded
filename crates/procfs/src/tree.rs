use std::collections::{HashMap, HashSet};
use std::fs;

use crate::processes;

/// Returns `root` and all its descendants, parents before children; empty if no such process runs. Processes
/// in pid namespaces below this one are included, with their pids in this one.
#[must_use]
pub fn process_tree(root: i32) -> Vec<i32> {
    if crate::ProcessStat::read(root).is_none() {
        return Vec::new();
    }
    let mut tree = vec![root];
    let mut seen = HashSet::from([root]);
    let mut at = 0;
    // The kernel's own lists if it has them (CONFIG_PROC_CHILDREN); otherwise one pass over all processes.
    let mut scanned: Option<HashMap<i32, Vec<i32>>> = None;
    while let Some(&pid) = tree.get(at) {
        let children = match (&scanned, listed_children(pid)) {
            (None, Some(children)) => children,
            _ => scanned.get_or_insert_with(scan).remove(&pid).unwrap_or_default(),
        };
        // A pid that is used again during the walk could lead in a circle.
        tree.extend(children.into_iter().filter(|child| seen.insert(*child)));
        at += 1;
    }
    tree
}

/// Returns the children of all threads of a process.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    listed_children(pid).unwrap_or_else(|| scan().remove(&pid).unwrap_or_default())
}

/// Reads the kernel's lists of children; `None` if the kernel has none.
fn listed_children(pid: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    // A process that has ended has no children.
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Some(children) };
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(_) if task.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

/// Returns the children of every process.
fn scan() -> HashMap<i32, Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, stat) in processes() {
        children.entry(stat.parent).or_default().push(pid);
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sources_list_the_same_children() {
        let me = i32::try_from(std::process::id()).unwrap();
        let mut process = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let child = i32::try_from(process.id()).unwrap();
        let listed = listed_children(me);
        let scanned = scan().remove(&me).unwrap_or_default();
        let tree = process_tree(me);
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(scanned.contains(&child));
        assert!(listed.is_none_or(|listed| listed.contains(&child)));
        assert_eq!(tree[0], me);
        assert!(tree.contains(&child));
    }

    #[test]
    fn a_process_that_does_not_exist_has_no_tree() {
        assert!(process_tree(0).is_empty());
        assert!(process_tree(i32::MAX).is_empty());
    }
}
