//! Names that a new app can have.

#![expect(clippy::disallowed_methods, reason = "looks for an app's own folder")]

use piku_layout::app_lock::remove_empty_dir;
use piku_layout::former_names;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;

use super::app_lock;

/// Checks that no app has the name, and that a destroyed one has left nothing.
///
/// # Errors
/// Fails with who has it, as busy if it is being made.
pub(crate) fn check_free(root: &PikuRoot, name: &AppName) -> anyhow::Result<()> {
    let dir = root.app(name);
    if dir.is_there() {
        return Err(UserError::new(format!("{name} exists already")).hint("choose another name").into());
    }
    if let Some(lock) = app_lock::lock_idle_app(&dir, name)? {
        // A refused push leaves a folder with nothing but the lock.
        remove_empty_dir(&dir, lock);
    }
    if !dir.path().exists() {
        if let Some(new) = former_names::find_successor(root, name) {
            return Err(former_names::renamed_app(name, &new).into());
        }
        return Ok(());
    }
    let what = format!("a destroyed app named {name} has left its data");
    Err(UserError::new(what)
        .hint(format!("bring it back: piku restore {name}"))
        .hint(format!("or remove it: piku data:remove {name} --confirm {name}"))
        .into())
}

#[cfg(test)]
mod tests {
    use piku_layout::app_lock::try_acquire;
    use piku_report::user_error::{BUSY, advice};

    use std::fs;

    use super::*;

    #[test]
    fn name_of_a_folder_with_nothing_but_a_free_lock_is_free() {
        let place = tempfile::tempdir().unwrap();
        let root = PikuRoot::new(Some(place.path().to_owned())).unwrap();
        let name: AppName = "blog".parse().unwrap();
        let dir = root.app(&name);
        check_free(&root, &name).unwrap();
        fs::create_dir_all(dir.path()).unwrap();
        let held = try_acquire(&dir, "alice").unwrap().unwrap();
        let err = check_free(&root, &name).unwrap_err();
        assert_eq!(err.to_string(), "an app named blog is being created or restored");
        assert!(advice(&err).1 == BUSY && dir.lock().exists());
        // Other tests start programs, which inherit the descriptor until they are executed.
        held.unlock().unwrap();
        check_free(&root, &name).unwrap();
        assert!(!dir.path().exists());
        fs::create_dir_all(dir.data()).unwrap();
        let err = check_free(&root, &name).unwrap_err();
        assert!(err.to_string().ends_with("has left its data"), "{err:#}");
        fs::create_dir_all(dir.repo()).unwrap();
        let err = check_free(&root, &name).unwrap_err();
        assert_eq!(err.to_string(), "blog exists already");
    }
}
