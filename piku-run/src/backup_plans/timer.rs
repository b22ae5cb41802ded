//! The daemon's timer for scheduled backups. The time of the next one is that of a small file, which each run
//! writes: the daemon reads no schedules.

#![expect(clippy::disallowed_methods, reason = "files of piku's own")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};
use piku_layout::settings::HostSettings;

/// Time between two looks at the clock, which may be set.
const EVERY: Duration = Duration::from_secs(60);

/// Time of the next look; never, if host.yaml has no backups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackupTimer(Option<Instant>);

impl BackupTimer {
    /// Reads from host.yaml whether there are backups. A bad file is read again.
    pub(crate) fn read(root: &PikuRoot) -> Self {
        // What was planned before this start of the daemon may have changed.
        let _ = fs::remove_file(path(root));
        Self::after(root, Duration::from_secs(5))
    }

    fn after(root: &PikuRoot, pause: Duration) -> Self {
        let is_off = HostSettings::read(&root.settings()).is_ok_and(|settings| settings.backups.is_empty());
        Self((!is_off).then(|| Instant::now() + pause))
    }

    pub(crate) fn at(self) -> Option<Instant> {
        self.0
    }

    /// Starts what is due; the caller reaps its process as all others.
    pub(crate) fn start_due(&mut self, root: &PikuRoot, program: &Path) -> anyhow::Result<()> {
        if self.0.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        *self = Self::after(root, EVERY);
        if self.0.is_some() && is_due(root, Timestamp::now()) {
            let mut command = Command::new(program);
            command.args(["backup", "run", "--due"]).env(ROOT_VARIABLE, root.path()).stdin(Stdio::null());
            command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
        }
        Ok(())
    }
}

fn path(root: &PikuRoot) -> PathBuf {
    root.run().join("backups.next")
}

/// Writes the time of the next run; far away if there is none.
pub(crate) fn write_next(root: &PikuRoot, next: Option<Timestamp>) -> anyhow::Result<()> {
    let path = path(root);
    let next = next.unwrap_or(Timestamp::MAX).as_second();
    atomic_file::write_passing(&path, next.to_string().as_bytes(), 0o600)
        .with_context(|| format!("cannot write '{}'", path.display()))
}

/// Returns whether the time of the next run has come, is unknown, or is older than host.yaml.
fn is_due(root: &PikuRoot, now: Timestamp) -> bool {
    let path = path(root);
    let next = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<i64>().ok());
    let modified = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    next.is_none_or(|next| next <= now.as_second()) || modified(&root.settings()) > modified(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_waits_for_the_time_of_the_next_backup() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        fs::create_dir(root.run()).unwrap();
        assert!(BackupTimer::read(&root).at().is_none());
        fs::write(root.settings(), "backups: {a: {schedule: '@daily', to: /srv}}\n").unwrap();
        assert!(BackupTimer::read(&root).at().is_some());
        let now = Timestamp::now();
        assert!(is_due(&root, now), "nothing was planned yet");
        write_next(&root, Some(now + Duration::from_secs(100))).unwrap();
        assert!(!is_due(&root, now) && is_due(&root, now + Duration::from_secs(101)));
        write_next(&root, None).unwrap();
        assert!(!is_due(&root, now + Duration::from_secs(1_000_000)));
        let settings = fs::File::open(root.settings()).unwrap();
        settings.set_modified(std::time::SystemTime::now() + Duration::from_secs(9)).unwrap();
        assert!(is_due(&root, now), "host.yaml was changed");
    }
}
