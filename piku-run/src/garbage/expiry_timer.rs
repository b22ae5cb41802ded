//! The daemon's timer for what destroyed and replaced apps have left.

#![expect(clippy::disallowed_methods, reason = "marks of destroyed apps, which only piku writes")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use piku_layout::paths::{PikuRoot, ROOT_VARIABLE};

/// Time between two looks while something is kept, and while nothing is: what is kept is kept for days.
const EVERY: Duration = Duration::from_secs(3600);
const RARELY: Duration = Duration::from_secs(24 * 3600);
/// Time after the start of the daemon, when the apps start, too.
const FIRST: Duration = Duration::from_secs(60);

/// Time of the next look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpiryTimer(Instant);

impl ExpiryTimer {
    pub(crate) fn new() -> Self {
        Self(Instant::now() + FIRST)
    }

    pub(crate) fn at(self) -> Instant {
        self.0
    }

    /// Starts the removal if it is time and something is kept; the caller reaps its process as all others.
    pub(crate) fn start_due(&mut self, root: &PikuRoot, program: &Path) -> anyhow::Result<()> {
        if self.0 > Instant::now() {
            return Ok(());
        }
        let keeps_any = keeps_any(root);
        self.0 = Instant::now() + if keeps_any { EVERY } else { RARELY };
        if keeps_any {
            let mut command = Command::new(program);
            command.args(["gc", "--expired"]).env(ROOT_VARIABLE, root.path()).stdin(Stdio::null());
            command.spawn().with_context(|| format!("cannot run '{}'", program.display()))?;
        }
        Ok(())
    }
}

/// Returns true if anything of a destroyed app is kept, or a backup of a replaced one.
fn keeps_any(root: &PikuRoot) -> bool {
    root.apps().unwrap_or_default().iter().any(|app| root.app(app).destroyed().exists())
        || root.replaced_apps().is_ok_and(|apps| !apps.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_found_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        std::fs::create_dir_all(root.app(&"blog".parse().unwrap()).path()).unwrap();
        assert!(!keeps_any(&root));
        std::fs::create_dir(root.app(&"blog".parse().unwrap()).destroyed()).unwrap();
        assert!(keeps_any(&root));
        std::fs::remove_dir(root.app(&"blog".parse().unwrap()).destroyed()).unwrap();
        std::fs::create_dir_all(root.replaced(&"blog".parse().unwrap())).unwrap();
        assert!(keeps_any(&root));
        let mut timer = ExpiryTimer(Instant::now());
        let (begun, missing) = (Instant::now(), dir.path().join("missing"));
        assert!(timer.start_due(&root, &missing).is_err());
        assert!(timer.start_due(&root, &missing).is_ok() && timer.at() >= begun + EVERY);
        assert!(timer.at() < begun + RARELY);
        std::fs::remove_dir(root.replaced(&"blog".parse().unwrap())).unwrap();
        timer = ExpiryTimer(Instant::now());
        assert!(timer.start_due(&root, &missing).is_ok() && timer.at() >= begun + RARELY);
    }
}
