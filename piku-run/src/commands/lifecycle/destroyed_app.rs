//! The parts of an app that `destroy` keeps, in `destroyed` of its directory: the repository, the config and the formation,
//! beside the data, which stays where it is.

#![expect(clippy::disallowed_methods, reason = "names in the app's own folder, which only piku writes")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use piku_files::atomic_file;
use piku_layout::app_lock;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::progress;
use serde::{Deserialize, Serialize};

use crate::commands::backup::remove_expired_replaced;
use crate::commands::data;
use crate::process::git_command::has_refs;
use crate::releases::{current, who};

/// File with who has destroyed the app, and when.
const RECORD: &str = "destroyed.json";

/// The record of a destroy: the key and the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DestroyedApp {
    by: String,
    at: Timestamp,
}

impl DestroyedApp {
    /// Reads the record; `None` if nothing of the app is kept but its data.
    pub(crate) fn read(dir: &AppDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.destroyed().join(RECORD)).ok()?).ok()
    }

    /// Returns the time from which it may be removed.
    pub(crate) fn end(&self, settings: &HostSettings) -> Timestamp {
        self.at.saturating_add(settings.keep_destroyed.duration()).unwrap_or(Timestamp::MAX)
    }

    /// Moves what is kept aside, if the app had commits, a release or data. If that was interrupted, it is completed.
    pub(super) fn keep(dir: &AppDir) -> anyhow::Result<()> {
        let kept = dir.destroyed();
        let is_begun = Self::read(dir).is_some() && !dir.repo().is_dir();
        if !is_begun {
            let had_release = !dir.release_numbers().unwrap_or_default().is_empty();
            if !(had_release || has_refs(&dir.repo()) || has_entries(&dir.data())) {
                return Ok(());
            }
            current::remove_dir(&kept)?;
            current::create_dir(&kept)?;
            let record = kept.join(RECORD);
            let text = serde_json::to_vec(&Self { by: who(), at: Timestamp::now() })
                .context("cannot make JSON of it")?;
            atomic_file::write(&record, &text, 0o600)
                .with_context(|| format!("cannot write '{}'", record.display()))?;
        }
        for path in parts(dir) {
            move_part(&path, &kept.join(path.file_name().unwrap_or_default()))?;
        }
        Ok(())
    }

    /// Moves everything back, the repository last: with it the app is there again.
    pub(super) fn bring_back(dir: &AppDir) -> anyhow::Result<()> {
        for path in parts(dir).into_iter().rev() {
            move_part(&dir.destroyed().join(path.file_name().unwrap_or_default()), &path)?;
        }
        // Without a repository, this says that a new release may have the data.
        current::create_dir(&dir.releases())?;
        current::remove_dir(&dir.destroyed())
    }
}

/// Returns whether the folder has content. That of an app's own user, which piku cannot list, counts as having some.
fn has_entries(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(err) => err.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Returns the parts of a living app that are kept.
fn parts(dir: &AppDir) -> [PathBuf; 3] {
    [dir.repo(), dir.config(), dir.formation()]
}

fn move_part(from: &Path, to: &Path) -> anyhow::Result<()> {
    match fs::rename(from, to) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved
            .and_then(|()| atomic_file::sync_parent(to))
            .with_context(|| format!("cannot move '{}'", from.display())),
    }
}

/// Removes what destroyed and replaced apps have left, once it has been kept for long enough.
pub(crate) fn remove_expired(root: &PikuRoot, settings: &HostSettings) {
    if let Err(err) = remove_expired_replaced(root, settings) {
        progress::detail(&format!("what was kept of replaced apps cannot be removed: {err:#}"));
    }
    for app in root.apps().unwrap_or_default() {
        match remove_if_expired(root, &app, settings) {
            Ok(false) => {}
            Ok(true) => progress::detail(&format!("what was kept of {app} is removed")),
            // The next destroy or gc tries again.
            Err(err) => progress::detail(&format!("what was kept of {app} cannot be removed: {err:#}")),
        }
    }
}

fn remove_if_expired(root: &PikuRoot, app: &AppName, settings: &HostSettings) -> anyhow::Result<bool> {
    let dir = root.app(app);
    let is_expired = || DestroyedApp::read(&dir).is_some_and(|kept| kept.end(settings) <= Timestamp::now());
    if !is_expired() {
        return Ok(false);
    }
    // A restore or a push has it.
    let Some(lock) = app_lock::try_acquire(&dir, &who())? else { return Ok(false) };
    if !is_expired() || current::check_not_destroyed(&dir).is_err() {
        return Ok(false);
    }
    if dir.is_there() {
        // An interrupted restore has brought everything back.
        current::remove_dir(&dir.destroyed())?;
        return Ok(true);
    }
    data::remove_kept(root, app, &dir, Some(lock))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::git_command::git_command;

    #[test]
    fn kept_parts_come_back_also_after_interruptions() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let dir = root.app(&app);
        let create = || {
            fs::create_dir_all(dir.path()).unwrap();
            let git = |words: &[&str]| {
                let out = git_command().args(words).current_dir(dir.path()).output().unwrap();
                assert!(out.status.success(), "{out:?}");
                String::from_utf8(out.stdout).unwrap().trim().to_owned()
            };
            git(&["init", "-q", "--bare", "repo.git"]);
            let id = git(&["--git-dir=repo.git", "hash-object", "-w", "--stdin"]);
            git(&["--git-dir=repo.git", "update-ref", "refs/tags/v1", &id]);
        };
        create();
        fs::create_dir_all(dir.data()).unwrap();
        fs::write(dir.config(), "{}").unwrap();
        DestroyedApp::keep(&dir).unwrap();
        // Once more, as after an interruption.
        DestroyedApp::keep(&dir).unwrap();
        assert!(!dir.is_there() && !dir.config().exists() && dir.data().is_dir());
        let settings = HostSettings::default();
        assert!(!remove_if_expired(&root, &app, &settings).unwrap());
        // An interrupted restore has moved the config only.
        fs::rename(dir.destroyed().join("config.json"), dir.config()).unwrap();
        DestroyedApp::bring_back(&dir).unwrap();
        assert!(dir.is_there() && dir.config().exists() && !dir.destroyed().exists());

        DestroyedApp::keep(&dir).unwrap();
        let soon = HostSettings { keep_destroyed: serde_json::from_str("0").unwrap(), ..settings };
        create();
        assert!(remove_if_expired(&root, &app, &soon).unwrap());
        assert!(dir.is_there() && dir.data().is_dir() && !dir.destroyed().exists());
    }
}
