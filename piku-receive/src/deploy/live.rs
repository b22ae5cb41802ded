//! The commit that is live: what decides whether a push has anything to deploy. `current` is the only record of it, since
//! rollbacks, changed settings and releases of other machines go past the pushes.

use std::path::Path;

use piku_files::TreeHandle;
use piku_layout::settings::HostSettings;
use serde::Deserialize;

use crate::app_context::AppContext;
use crate::deploy::verdict::{DeployState, DeployVerdict};

/// The largest size of a `release.yaml`, in bytes: much more than any has.
const LARGEST: u64 = 16 << 20;

/// The release that serves an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveRelease {
    /// Its commit; empty where it was built from a plain folder.
    pub(crate) commit: String,
    /// Its number.
    pub(crate) number: u64,
}

/// The one field of a `release.yaml` that is needed here.
#[derive(Deserialize)]
struct ReleaseCommit {
    #[serde(default)]
    commit: String,
}

impl LiveRelease {
    /// Returns the live release of an app; that of the last push, where the app's releases run on other machines only.
    pub(crate) fn find(place: &AppContext<'_>, last: Option<&DeployVerdict>) -> anyhow::Result<Option<Self>> {
        let mut settings = HostSettings::read(&place.root.settings())?;
        let is_here = settings.deploy_to.remove(place.app).is_none_or(|to| to.here);
        if !is_here {
            let sent = last.filter(|last| last.state == DeployState::Deployed);
            return Ok(sent.map(|last| Self { commit: last.commit.clone(), number: last.number }));
        }
        let app = place.dir();
        let number = app.current_number();
        Ok(number.and_then(|number| Self::read(&app.release(number), number)))
    }

    /// A release that cannot be read is not known to be any commit's: the next push deploys.
    fn read(dir: &Path, number: u64) -> Option<Self> {
        let text = TreeHandle::open(dir).ok()?.read_bounded("release.yaml", LARGEST).ok()?;
        let ReleaseCommit { commit } = serde_yaml::from_slice(&text).ok()?;
        Some(Self { commit, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_record_that_leads_out_of_the_release_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, release) = (dir.path().join("victim"), dir.path().join("7"));
        for folder in [&victim, &release] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(victim.join("release.yaml"), "commit: abc").unwrap();
        symlink("../victim/release.yaml", release.join("release.yaml")).unwrap();
        symlink("victim", dir.path().join("8")).unwrap();
        assert_eq!(LiveRelease::read(&release, 7), None);
        assert_eq!(LiveRelease::read(&dir.path().join("8"), 8), None);
        let live = LiveRelease::read(&victim, 9).unwrap();
        assert_eq!((live.commit.as_str(), live.number), ("abc", 9));
    }
}
