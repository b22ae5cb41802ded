//! The live release of an app, and its directories and locks.

#![expect(clippy::disallowed_methods, reason = "the app's own folder, which only piku writes")]

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::atomic_file;
use piku_files::{TreeHandle, remove_all};
use piku_layout::destroyed_app;
use piku_layout::paths::AppDir;
use piku_report::user_error::UserError;

use crate::releases::rename_record;

/// Creates a directory and its parents, accessible to this user only.
pub(crate) fn create_dir(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make '{}'", path.display()))
}

/// Creates the directory of an app's data. Its parents are closed to other users; this one can be entered,
/// since the web server serves files in it, even if the app has users of its own.
pub(crate) fn create_data_dir(app: &AppDir) -> anyhow::Result<()> {
    create_dir(app.path())?;
    create_data_dir_at(&app.data())
}

/// Creates the directory of data at this path, whose parent exists.
pub(crate) fn create_data_dir_at(data: &Path) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o711).create(data) {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => {
            Err(err).with_context(|| format!("cannot make '{}'", data.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the lock that an app's supervisor holds.
pub(crate) fn supervisor_lock(app: &AppDir) -> PathBuf {
    app.run().join("supervisor.lock")
}

/// Checks that the app is neither being destroyed nor between two names.
///
/// # Errors
/// Fails if a destroy or a renaming was interrupted.
pub(crate) fn check_not_destroyed(app: &AppDir) -> anyhow::Result<()> {
    rename_record::check_not_renamed(app)?;
    if !app.destroying().exists() {
        return Ok(());
    }
    let name = app.path().file_name().unwrap_or_default().to_string_lossy();
    Err(destroyed_app::unfinished_destroy(&name).into())
}

/// Returns the live release; `None` before the first deploy.
///
/// # Errors
/// Fails if the link to it is lost while releases exist, or if a destroy was interrupted.
pub(crate) fn live_release(app: &AppDir) -> anyhow::Result<Option<u64>> {
    check_not_destroyed(app)?;
    let number = app.current_number();
    if number.is_none() {
        let current = app.current();
        let releases = app.release_numbers().context("cannot list the releases")?;
        // An interrupted first deploy leaves one release.
        if current.symlink_metadata().is_ok() || releases.len() > 1 {
            let what = format!("'{}' is not the link to a release", current.display());
            let hint = format!("restore it: ln -sfn releases/N '{}'", current.display());
            return Err(UserError::new(what).hint(hint).into());
        }
    }
    Ok(number)
}

/// Makes a release live: a new link is renamed into place and synced, together with all files written
/// before. It is the only sync of a deploy.
pub(crate) fn set_live(app: &AppDir, number: u64) -> anyhow::Result<()> {
    let aside = app.path().join(".current");
    remove_dir(&aside)?;
    let current = app.current();
    std::os::unix::fs::symlink(format!("releases/{number}"), &aside)
        .and_then(|()| fs::rename(&aside, &current))
        .and_then(|()| atomic_file::sync_parent(&current))
        .with_context(|| format!("cannot switch '{}' to release {number}", current.display()))
}

/// Returns whether `name` is a directory in `folder`, not a link to one. It may be one that piku cannot read, such as
/// the data of an app with a user of its own.
pub(crate) fn has_dir(folder: &Path, name: impl AsRef<Path>) -> bool {
    let stat = TreeHandle::open_following(folder).and_then(|folder| folder.symlink_metadata(name));
    stat.is_ok_and(|stat| stat.is_dir())
}

/// Removes a file, a link or a directory with its content, if it exists.
pub(crate) fn remove_dir(path: &Path) -> anyhow::Result<()> {
    remove_all(path).with_context(|| format!("cannot remove '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_layout::paths::PikuRoot;

    #[test]
    fn switching_replaces_the_link() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        create_dir(&app.release(1)).unwrap();
        set_live(&app, 1).unwrap();
        set_live(&app, 2).unwrap();
        assert_eq!(app.current_number(), Some(2));
        assert_eq!(live_release(&app).unwrap(), Some(2));
    }

    #[test]
    fn a_link_to_a_folder_is_no_folder_of_a_release() {
        let dir = tempfile::tempdir().unwrap();
        create_dir(&dir.path().join("victim/deep")).unwrap();
        create_dir(&dir.path().join("release")).unwrap();
        std::os::unix::fs::symlink("../victim", dir.path().join("release/app")).unwrap();
        let release = dir.path().join("release");
        for name in ["app", "app/deep", "../victim", "none"] {
            assert!(!has_dir(&release, name), "{name}");
        }
        assert!(has_dir(dir.path(), "victim") && !has_dir(&dir.path().join("none"), "x"));
    }

    #[test]
    fn a_lost_link_is_not_an_app_without_a_release() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        assert_eq!(live_release(&app).unwrap(), None);
        create_dir(&app.release(1)).unwrap();
        assert_eq!(live_release(&app).unwrap(), None);
        std::os::unix::fs::symlink("nowhere", app.current()).unwrap();
        assert!(live_release(&app).is_err());
        fs::remove_file(app.current()).unwrap();
        create_dir(&app.release(2)).unwrap();
        assert!(live_release(&app).is_err());
    }
}
