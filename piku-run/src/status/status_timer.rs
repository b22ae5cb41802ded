//! The daemon's timer for the status page: every five minutes for the history, and soon after something of an app
//! changes. Without the page it opens nothing and never runs.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE, USAGE_HISTORY};
use piku_layout::settings::HostSettings;

/// Time between two records of the history, as its slots.
const EVERY: Duration = Duration::from_secs(300);
/// Time that a change waits for those that belong to it.
const SETTLE: Duration = Duration::from_secs(2);
/// Shortest time between two pages: an app that crashes all the time does not keep the machine busy.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// Time of the next page, and what tells of changes.
#[derive(Debug, Default)]
pub(crate) struct StatusTimer {
    at: Option<Instant>,
    last: Option<Instant>,
    /// `None` if the page is off, or the user has no inotify instance left.
    watch: Option<Inotify>,
}

impl StatusTimer {
    /// Reads from host.yaml whether there is a page. A bad file is read again.
    pub(crate) fn read(root: &PikuRoot) -> Self {
        if HostSettings::read(&root.settings()).is_ok_and(|settings| !settings.status.enabled) {
            return Self::default();
        }
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Self { at: Some(Instant::now() + SETTLE), last: None, watch }
    }

    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Returns the descriptor that is readable after a change.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Has the page made soon if something has changed.
    pub(crate) fn note_changes(&mut self) {
        let Some(watch) = &self.watch else { return };
        // Several reads: one has the size of a page.
        let mut is_changed = false;
        while let Ok(events) = watch.read_events() {
            is_changed |= events.iter().any(|event| {
                let name = event.name.as_ref().map(|name| name.to_string_lossy()).unwrap_or_default();
                // The history, and the file beside it that becomes it.
                !name.trim_start_matches('.').starts_with(USAGE_HISTORY)
            });
        }
        if is_changed {
            let soon = Instant::now() + SETTLE;
            let allowed = self.last.map_or(soon, |last| soon.max(last + AT_MOST_EVERY));
            self.at = self.at.map(|at| at.min(allowed));
        }
    }

    /// Starts the update if it is time; the caller reaps its process as all others.
    pub(crate) fn start_due(&mut self, root: &PikuRoot, program: &Path) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.at.is_none_or(|at| at > now) {
            return Ok(());
        }
        if HostSettings::read(&root.settings()).is_ok_and(|settings| !settings.status.enabled) {
            *self = Self::default();
            return Ok(());
        }
        (self.at, self.last) = (Some(now + EVERY), Some(now));
        self.watch_apps(root);
        let mut command = Command::new(program);
        command.args(super::UPDATE).env(ROOT_VARIABLE, root.path()).stdin(Stdio::null());
        command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
        Ok(())
    }

    /// Watches the directories of all apps: releases, settings and marks are renamed into them, and each instance has
    /// a record. To watch a directory again changes nothing.
    fn watch_apps(&self, root: &PikuRoot) {
        let Some(watch) = &self.watch else { return };
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        // Without a watch, the page follows within five minutes.
        let _ = watch.add_watch(&root.path().join("apps"), flags);
        for app in root.apps().unwrap_or_default() {
            let dir = root.app(&app);
            let _ = watch.add_watch(dir.path(), flags);
            let _ = watch.add_watch(&dir.run().join("workers"), flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_change_is_noticed_unless_it_is_the_history() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        assert!(StatusTimer::read(&root).at().is_none() && StatusTimer::read(&root).fd().is_none());
        fs::write(root.settings(), "status: true\n").unwrap();
        let app = root.app(&"blog".parse().unwrap());
        fs::create_dir_all(app.path()).unwrap();
        let mut timer = StatusTimer::read(&root);
        timer.watch_apps(&root);
        let late = Instant::now() + EVERY;
        let mut is_noticed = |write: &dyn Fn()| {
            timer.at = Some(late);
            write();
            timer.note_changes();
            timer.at() < Some(late)
        };
        assert!(!is_noticed(&|| {}));
        assert!(!is_noticed(&|| {
            piku_files::atomic_file::write_passing(&app.usage_history(), b"{}", 0o600).unwrap();
        }));
        assert!(is_noticed(&|| fs::write(app.stopped(), "").unwrap()));
        assert!(is_noticed(&|| fs::remove_file(app.stopped()).unwrap()));
        assert!(is_noticed(&|| fs::create_dir_all(root.path().join("apps/shop")).unwrap()));
        fs::write(root.settings(), "").unwrap();
        timer.at = Some(Instant::now());
        timer.start_due(&root, Path::new("/nonexistent")).unwrap();
        assert!(timer.at().is_none() && timer.fd().is_none(), "switched off");
    }
}
