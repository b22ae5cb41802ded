//! The daemon's timer for `notify`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};
use piku_layout::settings::HostSettings;

/// Time between two looks for problems.
const EVERY: Duration = Duration::from_secs(60);

/// Time of the next look; never, if host.yaml names no receiver.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotifyTimer(Option<Instant>);

impl NotifyTimer {
    /// Reads from host.yaml whether there is a receiver. A bad file is read again.
    pub(crate) fn read(root: &PikuRoot) -> Self {
        let is_off = HostSettings::read(&root.settings()).is_ok_and(|settings| settings.notify.is_off());
        Self((!is_off).then(|| Instant::now() + EVERY))
    }

    pub(crate) fn at(self) -> Option<Instant> {
        self.0
    }

    /// Starts the look if it is time; the caller reaps its process as all others.
    pub(crate) fn start_due(&mut self, root: &PikuRoot, program: &Path) -> anyhow::Result<()> {
        if self.0.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        *self = Self::read(root);
        if self.0.is_some() {
            let mut command = Command::new(program);
            command.arg(super::NAME).env(ROOT_VARIABLE, root.path()).stdin(Stdio::null());
            command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_do_not_end_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let is_on = |text: &str| {
            std::fs::write(root.settings(), text).unwrap();
            NotifyTimer::read(&root).at().is_some()
        };
        assert!(is_on("notify: {command: cat}\n"));
        assert!(is_on("notify: {command: cat\n"));
        assert!(!is_on(""));
    }
}
