//! The daemon's queue of removals in the background, one process for each app at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::unistd::Pid;
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};
use piku_release::removals::list_withdrawn;

/// Apps with withdrawn directories.
#[derive(Debug, Default)]
pub(crate) struct RemovalQueue {
    waiting: BTreeSet<AppName>,
    /// Processes that remove.
    running: BTreeMap<AppName, Pid>,
}

impl RemovalQueue {
    /// Returns a queue of the removals that were interrupted.
    pub(crate) fn find_pending(root: &PikuRoot) -> Self {
        // Apps that cannot be listed are reported elsewhere.
        let apps = root.apps().unwrap_or_default().into_iter();
        let waiting = apps.filter(|app| !list_withdrawn(&root.app(app)).is_empty()).collect();
        Self { waiting, running: BTreeMap::new() }
    }

    /// Adds an app, of which something was withdrawn.
    pub(crate) fn add(&mut self, app: AppName) {
        self.waiting.insert(app);
    }

    /// Starts the removals of apps that have none running; the caller reaps their processes.
    pub(crate) fn start_due(&mut self, root: &PikuRoot, program: &Path) -> anyhow::Result<()> {
        // A running one may have listed the directories before another was withdrawn.
        let due: Vec<AppName> =
            self.waiting.iter().filter(|app| !self.running.contains_key(*app)).cloned().collect();
        for app in due {
            self.waiting.remove(&app);
            let mut command = Command::new(program);
            command.args(["gc", "--withdrawn", app.as_str()]).env(ROOT_VARIABLE, root.path());
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let child = command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
            self.running.insert(app, Pid::from_raw(i32::try_from(child.id()).context("no pid")?));
        }
        Ok(())
    }

    /// Notes that a process of the daemon has ended. A removal that was killed is started again; one that failed is
    /// left to the next change of the app.
    pub(crate) fn note_end(&mut self, pid: Pid, is_killed: bool) {
        let app = self.running.iter().find(|(_, running)| **running == pid).map(|(app, _)| app.clone());
        let Some(app) = app else { return };
        self.running.remove(&app);
        if is_killed {
            self.waiting.insert(app);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_removal_of_an_app_runs_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let mut queue = RemovalQueue::find_pending(&root);
        queue.add(app.clone());
        assert!(queue.start_due(&root, &dir.path().join("missing")).is_err());
        assert!(queue.waiting.is_empty(), "it is not tried again at each event");
        let first = Pid::from_raw(1);
        queue.running.insert(app.clone(), first);
        queue.add(app.clone());
        queue.start_due(&root, &dir.path().join("missing")).unwrap();
        assert!(queue.waiting.contains(&app), "the first one may have listed the directories already");
        queue.note_end(Pid::from_raw(2), true);
        queue.note_end(first, false);
        assert!(queue.running.is_empty() && queue.waiting.contains(&app));
        queue.waiting.clear();
        queue.running.insert(app.clone(), first);
        queue.note_end(first, true);
        assert!(queue.waiting.contains(&app), "it was killed");
    }
}
