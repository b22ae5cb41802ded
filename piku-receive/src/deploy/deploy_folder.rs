//! The folder in which the hook deploys, `deploy.` and six random characters, in the folder of the app.

#![expect(clippy::disallowed_methods, reason = "the app's own folder, which only piku writes")]

use std::fs;
use std::path::Path;

use anyhow::Context;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use piku_files::remove_all;
use piku_layout::paths::{AppDir, DEPLOY_PREFIX};
use tempfile::TempDir;

/// Creates the folder with what the hook needs in it: the pipe `output`, which `record` reads, and the folder
/// `releases`. Removes the folders of deploys that were killed: the caller holds the app's lock. The folder
/// is removed again unless the caller keeps it.
pub(super) fn create_deploy_folder(app: &AppDir) -> anyhow::Result<TempDir> {
    let app = app.path();
    remove_leftovers(app).with_context(|| format!("cannot clean up '{}'", app.display()))?;
    let folder = tempfile::Builder::new().prefix(DEPLOY_PREFIX).tempdir_in(app);
    let folder = folder.with_context(|| format!("cannot create a folder in '{}'", app.display()))?;
    let unmade = || format!("cannot create a file in '{}'", folder.path().display());
    mkfifo(&folder.path().join("output"), Mode::S_IRUSR | Mode::S_IWUSR).with_context(unmade)?;
    fs::create_dir(folder.path().join("releases")).with_context(unmade)?;
    Ok(folder)
}

fn remove_leftovers(app: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(app)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(DEPLOY_PREFIX.as_bytes()) {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use piku_layout::paths::PikuRoot;

    #[test]
    fn a_killed_deploys_folder_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let app = PikuRoot::new(Some(root.path().to_owned())).unwrap().app(&"blog".parse().unwrap());
        fs::create_dir_all(app.path().join("deploy.killed/source")).unwrap();
        fs::create_dir_all(app.path().join("data")).unwrap();
        let folder = create_deploy_folder(&app).unwrap();
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            let mut names: Vec<_> = entries.collect();
            names.sort();
            names
        };
        let made = folder.path();
        assert_eq!(names(app.path()), [app.path().join("data"), made.to_owned()]);
        assert_eq!(names(made), [made.join("output"), made.join("releases")]);
    }
}
