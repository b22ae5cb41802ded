//! The daemon's queue of removals in the background, one process for each app at a time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::unistd::Pid;
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};
use piku_release::removals::list_withdrawn;

/// Pause after a removal that has failed or was killed; it doubles with each further one up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Time between two looks at all apps, for removals of which the daemon was not told.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Apps with withdrawn directories.
#[derive(Debug)]
pub(crate) struct RemovalQueue {
    /// Times of the next tries.
    waiting: BTreeMap<AppName, Instant>,
    /// Processes that remove.
    running: BTreeMap<AppName, Pid>,
    /// Failures in a row.
    failures: BTreeMap<AppName, u32>,
    /// Time of the next look at all apps.
    look: Instant,
}

impl RemovalQueue {
    /// Returns a queue of the removals that were interrupted.
    pub(crate) fn find_pending(root: &PikuRoot) -> Self {
        let look = Instant::now();
        let (waiting, running, failures) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut queue = Self { waiting, running, failures, look };
        queue.look_if_due(root);
        queue
    }

    fn look_if_due(&mut self, root: &PikuRoot) {
        let now = Instant::now();
        if self.look > now {
            return;
        }
        self.look = now + LOOK_EVERY;
        // Apps that cannot be listed are reported elsewhere.
        for app in root.supervised().unwrap_or_default() {
            if !list_withdrawn(&root.app(&app)).is_empty() {
                self.waiting.entry(app).or_insert(now);
            }
        }
    }

    /// Adds an app, of which something was withdrawn.
    pub(crate) fn add(&mut self, app: AppName) {
        self.waiting.insert(app, Instant::now());
    }

    /// Returns the time of the next start or look.
    pub(crate) fn at(&self) -> Instant {
        let starts = self.waiting.iter().filter(|(app, _)| !self.running.contains_key(*app));
        starts.map(|(_, at)| *at).chain([self.look]).min().unwrap_or(self.look)
    }

    /// Starts the removals of apps that have none running; the caller reaps their processes.
    pub(crate) fn start_due(&mut self, root: &PikuRoot, program: &Path) -> anyhow::Result<()> {
        self.look_if_due(root);
        let now = Instant::now();
        // A running one may have listed the directories before another was withdrawn.
        let is_due = |app: &AppName, at: Instant| at <= now && !self.running.contains_key(app);
        let due = self.waiting.iter().filter(|(app, at)| is_due(app, **at));
        let due: Vec<AppName> = due.map(|(app, _)| app.clone()).collect();
        let mut result = Ok(());
        for app in due {
            self.waiting.remove(&app);
            match start(root, program, &app) {
                Ok(pid) => {
                    self.running.insert(app, pid);
                }
                Err(err) => {
                    result = Err(err);
                    self.try_later(app);
                }
            }
        }
        result
    }

    /// Notes that a process of the daemon has ended. A removal that did not end well is tried again later.
    pub(crate) fn note_end(&mut self, pid: Pid, is_well: bool) {
        let app = self.running.iter().find(|(_, running)| **running == pid).map(|(app, _)| app.clone());
        let Some(app) = app else { return };
        self.running.remove(&app);
        if is_well {
            self.failures.remove(&app);
        } else {
            self.try_later(app);
        }
    }

    fn try_later(&mut self, app: AppName) {
        let failures = self.failures.entry(app.clone()).or_default();
        let pause = FIRST_PAUSE.saturating_mul(1 << (*failures).min(16)).min(LONGEST_PAUSE);
        *failures = failures.saturating_add(1);
        self.waiting.insert(app, Instant::now() + pause);
    }
}

fn start(root: &PikuRoot, program: &Path, app: &AppName) -> anyhow::Result<Pid> {
    let mut command = Command::new(program);
    command.args(["gc", "--withdrawn", app.as_str()]).env(ROOT_VARIABLE, root.path());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
    Ok(Pid::from_raw(i32::try_from(child.id()).context("no pid")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> (tempfile::TempDir, PikuRoot, RemovalQueue) {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let queue = RemovalQueue::find_pending(&root);
        (dir, root, queue)
    }

    #[test]
    fn one_removal_of_an_app_runs_at_a_time() {
        let (dir, root, mut queue) = queue();
        let missing = dir.path().join("missing");
        let app: AppName = "blog".parse().unwrap();
        let first = Pid::from_raw(1);
        queue.running.insert(app.clone(), first);
        queue.add(app.clone());
        queue.start_due(&root, &missing).unwrap();
        assert!(queue.waiting.contains_key(&app), "the first one may have listed the directories already");
        assert_eq!(queue.at(), queue.look, "it waits for the first one");
        queue.note_end(Pid::from_raw(2), false);
        queue.note_end(first, true);
        assert!(queue.running.is_empty() && queue.at() <= Instant::now());
    }

    #[test]
    fn failures_are_tried_again_later() {
        let (dir, root, mut queue) = queue();
        let missing = dir.path().join("missing");
        let (app, pid): (AppName, _) = ("blog".parse().unwrap(), Pid::from_raw(1));
        let begun = Instant::now();
        queue.add(app.clone());
        assert!(queue.start_due(&root, &missing).is_err());
        let first = queue.at();
        assert!(first >= begun + FIRST_PAUSE && first < queue.look);
        queue.start_due(&root, &missing).unwrap();
        assert_eq!(queue.at(), first, "it is not tried again at each event");
        for _ in 0..40 {
            queue.waiting.clear();
            queue.running.insert(app.clone(), pid);
            queue.note_end(pid, false);
        }
        let longest = queue.at();
        assert!(longest >= begun + LONGEST_PAUSE && longest <= Instant::now() + LONGEST_PAUSE);
        // A change of the app does not wait for that, and success ends it.
        queue.add(app.clone());
        assert!(queue.at() <= Instant::now());
        queue.waiting.clear();
        queue.running.insert(app, pid);
        queue.note_end(pid, true);
        assert!(queue.failures.is_empty() && queue.waiting.is_empty());
    }

    #[test]
    fn forgotten_removals_are_found() {
        let (dir, root, mut queue) = queue();
        let app: AppName = "blog".parse().unwrap();
        std::fs::create_dir_all(root.app(&app).releases().join(".1.gone")).unwrap();
        assert!(queue.start_due(&root, &dir.path().join("missing")).is_ok(), "a look is rare");
        queue.look = Instant::now();
        assert!(queue.start_due(&root, &dir.path().join("missing")).is_err());
        assert!(queue.waiting.contains_key(&app) && queue.look > Instant::now());
    }
}
