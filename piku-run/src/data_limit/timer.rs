//! The daemon's timer for measurements. The daemon reads no settings of apps: a release with a limit makes the record
//! that says that there is something to measure.

#![expect(clippy::disallowed_methods, reason = "looks for a record of piku's own")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};

use super::usage_record::DataUsageRecord;
use super::watch::NAME;

/// Time after the start of the daemon, when the apps start, too.
const FIRST: Duration = Duration::from_secs(60);
/// Time between two measurements while an app has a limit.
const EVERY: Duration = Duration::from_secs(300);
/// Time between two looks at all apps while none is known to have one.
const RARELY: Duration = Duration::from_secs(24 * 3600);

/// Time of the next measurement, which looks at all apps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DataUsageTimer(Instant);

impl DataUsageTimer {
    pub(crate) fn new() -> Self {
        Self(Instant::now() + FIRST)
    }

    pub(crate) fn at(self) -> Instant {
        self.0
    }

    /// Has the record looked for again. Who makes it, also a measurement that this timer has started, sends the daemon
    /// SIGHUP.
    pub(crate) fn look_again(&mut self, root: &PikuRoot) {
        self.0 = self.0.min(Instant::now() + pause(root));
    }

    /// Starts a measurement if it is time; the caller reaps its process as all others.
    pub(crate) fn start_due(&mut self, root: &PikuRoot, program: &Path) -> anyhow::Result<()> {
        if self.0 > Instant::now() {
            return Ok(());
        }
        self.0 = Instant::now() + pause(root);
        let mut command = Command::new(program);
        command.arg(NAME).env(ROOT_VARIABLE, root.path()).stdin(Stdio::null());
        command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
        Ok(())
    }
}

/// Returns the time until the next measurement.
fn pause(root: &PikuRoot) -> Duration {
    if DataUsageRecord::path(root).exists() { EVERY } else { RARELY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_sleeps_while_no_app_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        std::fs::create_dir(root.run()).unwrap();
        let (begun, missing) = (Instant::now(), dir.path().join("missing"));
        let mut timer = DataUsageTimer(begun);
        assert!(timer.start_due(&root, &missing).is_err(), "it is time");
        assert!(timer.start_due(&root, &missing).is_ok() && timer.at() >= begun + RARELY);
        timer.look_again(&root);
        assert!(timer.at() >= begun + RARELY);
        DataUsageRecord::create(&root).unwrap();
        timer.look_again(&root);
        let next = timer.at();
        assert!(next < begun + RARELY && next >= begun + EVERY);
        timer.look_again(&root);
        assert_eq!(timer.at(), next, "another request does not delay it");
    }
}
