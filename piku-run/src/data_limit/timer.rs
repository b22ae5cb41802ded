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

/// Time between two looks while an app has a limit.
const EVERY: Duration = Duration::from_secs(300);
/// Number of looks without a limit after which all apps are looked at.
const RARELY: u32 = 12;

/// Time of the next look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DataUsageTimer {
    at: Instant,
    /// Looks until all apps are looked at.
    left: u32,
}

impl DataUsageTimer {
    /// Returns a timer whose first look is soon.
    pub(crate) fn new() -> Self {
        Self { at: Instant::now() + Duration::from_secs(60), left: 0 }
    }

    pub(crate) fn at(self) -> Instant {
        self.at
    }

    /// Starts a measurement if it is time; the caller reaps its process as all others.
    pub(crate) fn start_due(&mut self, root: &PikuRoot, program: &Path) -> anyhow::Result<()> {
        if self.at > Instant::now() {
            return Ok(());
        }
        self.at = Instant::now() + EVERY;
        if self.left > 0 && !DataUsageRecord::path(root).exists() {
            self.left -= 1;
            return Ok(());
        }
        self.left = RARELY;
        let mut command = Command::new(program);
        command.arg(NAME).env(ROOT_VARIABLE, root.path()).stdin(Stdio::null());
        command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
        Ok(())
    }
}
