//! The live release. Only the `current` symlink is reliable: rollbacks, changed settings and releases from
//! other hosts bypass pushes.

use std::path::Path;

use piku_files::{TreeHandle, untrusted_yaml};
use piku_layout::settings::HostSettings;
use serde::Deserialize;

use crate::app_context::AppContext;
use crate::deploy::deploy_record::{DeployRecord, DeployState};

/// The release that serves requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveRelease {
    /// Commit; empty if the release was built from a plain directory.
    pub(crate) commit: String,
    pub(crate) number: u64,
}

/// The only field of `release.yaml` that is read here.
#[derive(Deserialize)]
struct ReleaseCommit {
    #[serde(default)]
    commit: String,
}

impl LiveRelease {
    /// Returns the live release of an app; for an app that runs on other hosts only, that of the last push.
    pub(crate) fn find(
        context: &AppContext<'_>,
        last: Option<&DeployRecord>,
    ) -> anyhow::Result<Option<Self>> {
        let mut settings = HostSettings::read(&context.root.settings())?;
        let is_here = settings.deploy_to.remove(context.app).is_none_or(|to| to.here);
        if !is_here {
            let sent = last.filter(|last| last.state == DeployState::Deployed);
            return Ok(sent.map(|last| Self { commit: last.commit.clone(), number: last.number }));
        }
        let app = context.dir();
        let number = app.current_number();
        Ok(number.and_then(|number| Self::read_release(&app.release(number), number)))
    }

    /// Returns `None` for an unreadable release: the next push deploys.
    fn read_release(dir: &Path, number: u64) -> Option<Self> {
        let text =
            TreeHandle::open(dir).ok()?.read_bounded("release.yaml", untrusted_yaml::LONGEST as u64).ok()?;
        let ReleaseCommit { commit } = untrusted_yaml::parse(&text).ok()?;
        Some(Self { commit, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_symlink_in_place_of_the_manifest_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, release) = (dir.path().join("victim"), dir.path().join("7"));
        for folder in [&victim, &release] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(victim.join("release.yaml"), "commit: abc").unwrap();
        symlink("../victim/release.yaml", release.join("release.yaml")).unwrap();
        symlink("victim", dir.path().join("8")).unwrap();
        assert_eq!(LiveRelease::read_release(&release, 7), None);
        assert_eq!(LiveRelease::read_release(&dir.path().join("8"), 8), None);
        let live = LiveRelease::read_release(&victim, 9).unwrap();
        assert_eq!((live.commit.as_str(), live.number), ("abc", 9));
    }
}
