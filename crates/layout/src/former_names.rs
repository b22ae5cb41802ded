//! Former names of renamed apps, so that a push to one of them can say where the app has gone.

#![expect(clippy::disallowed_methods, reason = "a record of piku's own")]

use std::fs;
use std::io;

use anyhow::Context;
use piku_files::atomic_file;
use piku_report::user_error::UserError;

use crate::name::AppName;
use crate::paths::{AppDir, PikuRoot};

/// Returns the app that once had this name, if no app has it now.
#[must_use]
pub fn find_successor(root: &PikuRoot, former: &AppName) -> Option<AppName> {
    let apps = root.apps().unwrap_or_default();
    apps.into_iter().find(|app| app != former && read(&root.app(app)).contains(former))
}

/// Returns the error for a use of the former name.
#[must_use]
pub fn renamed_app(former: &AppName, new: &AppName) -> UserError {
    UserError::new(format!("{former} is called {new} now"))
        .hint(format!("to use the name for another app: piku create {former}"))
}

/// Adds a former name to an app.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn add(app: &AppDir, former: &AppName) -> anyhow::Result<()> {
    let mut names = read(app);
    names.retain(|name| name != former);
    names.push(former.clone());
    write(app, &names)
}

/// Makes a former name available to a new app.
///
/// # Errors
/// Fails if a file cannot be written.
pub fn forget(root: &PikuRoot, former: &AppName) -> anyhow::Result<()> {
    while let Some(app) = find_successor(root, former) {
        let dir = root.app(&app);
        let mut names = read(&dir);
        names.retain(|name| name != former);
        write(&dir, &names)?;
    }
    Ok(())
}

/// Returns the former names; none if the file cannot be read.
fn read(app: &AppDir) -> Vec<AppName> {
    let text = fs::read_to_string(app.former_names()).unwrap_or_default();
    text.lines().filter_map(|name| name.parse().ok()).collect()
}

fn write(app: &AppDir, names: &[AppName]) -> anyhow::Result<()> {
    let path = app.former_names();
    let text: String = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    let written = if text.is_empty() {
        match fs::remove_file(&path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    } else {
        atomic_file::write(&path, text.as_bytes(), 0o600)
    };
    written.with_context(|| format!("cannot write '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_name_leads_to_app_until_it_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let name = |text: &str| -> AppName { text.parse().unwrap() };
        let (old, older, new) = (name("blog"), name("diary"), name("shop"));
        fs::create_dir_all(root.app(&new).path()).unwrap();
        for former in [&older, &old, &old] {
            add(&root.app(&new), former).unwrap();
        }
        assert_eq!(
            (find_successor(&root, &old), find_successor(&root, &older)),
            (Some(new.clone()), Some(new.clone()))
        );
        assert_eq!(find_successor(&root, &new), None);
        forget(&root, &old).unwrap();
        assert_eq!((find_successor(&root, &old), find_successor(&root, &older)), (None, Some(new.clone())));
        forget(&root, &older).unwrap();
        assert!(!root.app(&new).former_names().exists());
    }
}
