//! Apps that `restore --replace` has replaced: each is saved as a backup of its own before anything changes, and kept as
//! long as a destroyed app.

#![expect(clippy::disallowed_methods, reason = "files that only piku writes")]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use piku_files::{ReservingWriter, atomic_file};
use piku_layout::app_lock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use super::{BackupRequest, BackupScope, write_backup};
use crate::known_apps;
use crate::process::deadline::Deadline;
use crate::releases::{current, who};

const SUFFIX: &str = ".tar.zst";
/// Suffix of a file that is not whole.
const PART: &str = ".part";

/// Saves an app that is about to be replaced, with its data in services or without. Returns false if the host settings
/// keep nothing of destroyed apps.
///
/// # Errors
/// Fails without a file unless all of the app is saved, and as long as the disk has space beside `disk_reserve`.
pub(super) fn save_app(root: &PikuRoot, app: &AppName, with_services: bool) -> anyhow::Result<bool> {
    let settings = HostSettings::read(&root.settings())?;
    if settings.keep_destroyed.is_zero() {
        return Ok(false);
    }
    let folder = root.replaced(app);
    current::create_dir(&folder)?;
    let path = folder.join(format!("{}{SUFFIX}", name_of(Timestamp::now())));
    let part = folder.join(PART);
    let saved = write_file(root, app, with_services, &part, settings.reserve_bytes())
        .and_then(|()| fs::rename(&part, &path).context("cannot rename it"))
        .and_then(|()| atomic_file::sync_parent(&path).context("cannot sync it"));
    if let Err(err) = saved {
        let _ = fs::remove_file(&part);
        let _ = fs::remove_dir(&folder);
        return Err(err.context(format!("cannot save {app}, which would be replaced")));
    }
    Ok(true)
}

fn write_file(
    root: &PikuRoot,
    app: &AppName,
    with_services: bool,
    part: &Path,
    reserve: u64,
) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(part).with_context(|| format!("cannot write '{}'", part.display()))?;
    let folder = root.path().to_owned();
    let mut output = ReservingWriter::new(file, folder, reserve, "the backup of the old app");
    let scope = BackupScope::App(app.clone());
    let request = BackupRequest { scope, with_services, is_strict: true, deadline: Deadline::default() };
    let written = write_backup(root, &request, &mut output)?;
    if let Some(lacking) = written.lacking.first() {
        let hint = format!("to remove a file that cannot be read: piku run {app} rm /data/FILE");
        return Err(UserError::new(lacking.describe()).hint(hint).into());
    }
    output.file().sync_all().context("cannot sync it")
}

/// Opens the last backup of an app that was replaced.
///
/// # Errors
/// Fails if there is none.
pub(in crate::commands) fn open_last(root: &PikuRoot, app: &AppName) -> anyhow::Result<File> {
    let Some(path) = list_files(&root.replaced(app))?.pop() else {
        known_apps::must_be_there(root, app)?;
        let error = UserError::new(format!("nothing of {app} is kept from before a 'restore --replace'"));
        return Err(error.hint("each keeps the state before it, for keep_destroyed of host.yaml").into());
    };
    File::open(&path).with_context(|| format!("cannot read '{}'", path.display()))
}

/// Removes the backups of replaced apps that were kept for long enough.
pub(in crate::commands) fn remove_expired(root: &PikuRoot, settings: &HostSettings) -> anyhow::Result<()> {
    let begin = Timestamp::now().checked_sub(settings.keep_destroyed.duration()).unwrap_or(Timestamp::MIN);
    let begin = name_of(begin);
    for app in root.replaced_apps().context("cannot list the replaced apps")? {
        let folder = root.replaced(&app);
        for path in list_files(&folder)? {
            if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name < begin.as_str()) {
                fs::remove_file(&path).with_context(|| format!("cannot remove '{}'", path.display()))?;
            }
        }
        remove_unfinished(root, &app, &folder.join(PART))?;
        // Succeeds if it is empty.
        let _ = fs::remove_dir(&folder);
    }
    Ok(())
}

/// Removes what a killed save has left. While one is in progress, the app's lock is held.
fn remove_unfinished(root: &PikuRoot, app: &AppName, part: &Path) -> anyhow::Result<()> {
    if !part.exists() {
        return Ok(());
    }
    let dir = root.app(app);
    let lock = if dir.path().is_dir() { app_lock::try_acquire(&dir, &who())? } else { None };
    if lock.is_some() || !dir.path().is_dir() {
        current::remove_dir(part)?;
    }
    Ok(())
}

/// Returns the whole backups in a folder, the newest last.
fn list_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot list '{}'", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(cannot)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(cannot)?.path());
    }
    paths.retain(|path| path.to_str().is_some_and(|path| path.ends_with(SUFFIX)));
    paths.sort();
    Ok(paths)
}

/// Returns a time as the names of the files have it, in the order of the times.
fn name_of(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn kept_for_a_time_and_the_newest_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        let app: AppName = "blog".parse().unwrap();
        assert!(open_last(&root, &app).unwrap_err().to_string().contains("there is no app 'blog'"));
        fs::create_dir_all(root.replaced(&app)).unwrap();
        let now = Timestamp::now();
        let hours = |hours: i64| now - jiff::SignedDuration::from_hours(hours);
        let write = |time, content: &str| {
            fs::write(root.replaced(&app).join(name_of(time) + SUFFIX), content).unwrap();
        };
        write(hours(40 * 24), "old");
        write(hours(1), "new");
        write(hours(29 * 24), "older");
        fs::write(root.replaced(&app).join(PART), "half").unwrap();
        remove_expired(&root, &HostSettings::default()).unwrap();
        assert_eq!(list_files(&root.replaced(&app)).unwrap().len(), 2);
        assert!(!root.replaced(&app).join(PART).exists());
        assert_eq!(io::read_to_string(open_last(&root, &app).unwrap()).unwrap(), "new");
    }
}
