//! The number of deploys of an app since its first one: of pushes, and of releases from other machines.

#![expect(clippy::disallowed_methods, reason = "a record of piku's own")]

use std::fs;

use piku_files::atomic_file;
use serde::{Deserialize, Serialize};

use crate::paths::AppDir;

/// Numbers of ended deploys. They only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeployTotals {
    /// Deploys whose release went live.
    pub succeeded: u64,
    /// Deploys after which the release before them stayed live.
    pub failed: u64,
}

impl DeployTotals {
    /// Reads the numbers; zero if they are missing or damaged.
    #[must_use]
    pub fn read(app: &AppDir) -> Self {
        fs::read(app.deploy_totals())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Counts a deploy. The caller holds the app's lock. A file that cannot be written costs the number, not the
    /// deploy, and there is no sync: a power cut may lose the last ones.
    pub fn count_deploy(app: &AppDir, is_live: bool) {
        let mut totals = Self::read(app);
        let number = if is_live { &mut totals.succeeded } else { &mut totals.failed };
        *number = number.saturating_add(1);
        let text = serde_json::to_vec(&totals).unwrap_or_default();
        let _ = atomic_file::write_passing(&app.deploy_totals(), &text, 0o600);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::PikuRoot;

    #[test]
    fn deploys_are_counted_and_a_damaged_file_begins_anew() {
        let dir = std::env::temp_dir().join(format!("piku-totals-{}", std::process::id()));
        let app = PikuRoot::new(Some(dir.clone())).unwrap().app(&"blog".parse().unwrap());
        fs::create_dir_all(app.path()).unwrap();
        assert_eq!(DeployTotals::read(&app), DeployTotals::default());
        for is_live in [true, false, true] {
            DeployTotals::count_deploy(&app, is_live);
        }
        assert_eq!(DeployTotals::read(&app), DeployTotals { succeeded: 2, failed: 1 });
        fs::write(app.deploy_totals(), "{\"succ").unwrap();
        DeployTotals::count_deploy(&app, false);
        assert_eq!(DeployTotals::read(&app), DeployTotals { succeeded: 0, failed: 1 });
        fs::remove_dir_all(dir).unwrap();
    }
}
