//! What piku-run keeps where, beyond what all tools know.

#![expect(clippy::disallowed_methods, reason = "the app's own folder, which only piku writes")]

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use piku_files::atomic_file;
use piku_files::{TreeHandle, remove_all};
use piku_layout::paths::{AppDir, PikuRoot};
use piku_report::user_error::UserError;

/// Makes a folder for nobody else's eyes, and those above it.
pub(crate) fn make(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make '{}'", path.display()))
}

/// Makes the folder of an app's data. All above it are closed to everybody else; this one lets pass, since the web server runs
/// as who piku is and serves what lies in it, also of an app that is a user of its own.
pub(crate) fn make_data(app: &AppDir) -> anyhow::Result<()> {
    make(app.path())?;
    match DirBuilder::new().mode(0o711).create(app.data()) {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => {
            Err(err).with_context(|| format!("cannot make '{}'", app.data().display()))
        }
        _ => Ok(()),
    }
}

/// Held by an app's supervisor.
pub(crate) fn supervisor_lock(app: &AppDir) -> PathBuf {
    app.run().join("supervisor.lock")
}

/// Held by the daemon.
pub(crate) fn daemon_lock(root: &PikuRoot) -> PathBuf {
    root.run().join("daemon.lock")
}

/// That nobody has begun to destroy the app.
///
/// # Errors
/// When a destroy has begun and was cut off: what is left of it is no app.
pub(crate) fn check_not_destroyed(app: &AppDir) -> anyhow::Result<()> {
    if !app.destroying().exists() {
        return Ok(());
    }
    let name = app.path().file_name().unwrap_or_default().to_string_lossy();
    let what = format!("{name} was being destroyed, and that has not come to its end");
    Err(UserError::new(what).hint(format!("destroy it again: piku destroy {name} --confirm {name}")).into())
}

/// The live release; nothing before the first deploy.
///
/// # Errors
/// When the link to it is lost. The releases are then what the app was, and not what a deploy has left half done. Or when a destroy
/// of the app was cut off.
pub(crate) fn live(app: &AppDir) -> anyhow::Result<Option<u64>> {
    check_not_destroyed(app)?;
    let number = app.current_number();
    if number.is_none() {
        let current = app.current();
        let releases = app.release_numbers().context("cannot list the releases")?;
        // A first deploy that was cut off leaves one.
        if current.symlink_metadata().is_ok() || releases.len() > 1 {
            let what = format!("'{}' is not the link to a release", current.display());
            let hint = format!("mend it: ln -sfn releases/N '{}'", current.display());
            return Err(UserError::new(what).hint(hint).into());
        }
    }
    Ok(number)
}

/// Makes a release the live one: the link is made aside, renamed in, and synced, and with it all that was put on the disk in order
/// before. It is the one sync of a deploy.
pub(crate) fn switch(app: &AppDir, number: u64) -> anyhow::Result<()> {
    let aside = app.path().join(".current");
    remove(&aside)?;
    let current = app.current();
    std::os::unix::fs::symlink(format!("releases/{number}"), &aside)
        .and_then(|()| fs::rename(&aside, &current))
        .and_then(|()| atomic_file::sync_parent(&current))
        .with_context(|| format!("cannot switch '{}' to release {number}", current.display()))
}

/// Returns whether `name` is a folder in `folder`, and not a link to one.
pub(crate) fn has_folder(folder: &Path, name: &str) -> bool {
    TreeHandle::open_following(folder).is_ok_and(|folder| folder.subtree(name).is_ok())
}

/// Removes a file, a link or a folder with all that is in it; one that is not there is as good as removed.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    remove_all(path).with_context(|| format!("cannot remove '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switching_replaces_the_link() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        make(&app.release(1)).unwrap();
        switch(&app, 1).unwrap();
        switch(&app, 2).unwrap();
        assert_eq!(app.current_number(), Some(2));
        assert_eq!(live(&app).unwrap(), Some(2));
    }

    #[test]
    fn a_link_to_a_folder_is_no_folder_of_a_release() {
        let dir = tempfile::tempdir().unwrap();
        make(&dir.path().join("victim/deep")).unwrap();
        make(&dir.path().join("release")).unwrap();
        std::os::unix::fs::symlink("../victim", dir.path().join("release/app")).unwrap();
        let release = dir.path().join("release");
        for name in ["app", "app/deep", "../victim", "none"] {
            assert!(!has_folder(&release, name), "{name}");
        }
        assert!(has_folder(dir.path(), "victim") && !has_folder(&dir.path().join("none"), "x"));
    }

    #[test]
    fn a_lost_link_is_not_an_app_without_a_release() {
        let dir = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(dir.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        assert_eq!(live(&app).unwrap(), None);
        make(&app.release(1)).unwrap();
        assert_eq!(live(&app).unwrap(), None);
        std::os::unix::fs::symlink("nowhere", app.current()).unwrap();
        assert!(live(&app).is_err());
        fs::remove_file(app.current()).unwrap();
        make(&app.release(2)).unwrap();
        assert!(live(&app).is_err());
    }
}
