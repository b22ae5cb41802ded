//! `create APP`: makes an app without a push, so that settings can be stored for its first release.

#![expect(
    clippy::disallowed_methods,
    reason = "checks that the repository exists, which only git and piku write"
)]

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::{destroyed_app, former_names};
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use super::setup;
use crate::app_context::AppContext;
use crate::deploy::lock::AppLock;
use crate::{child_env, client};

/// Creates the app's directory and repository, and prints how to push to it. `if_missing` makes an existing
/// app no error, without any output.
pub(crate) fn create_app(context: &AppContext<'_>, if_missing: bool) -> anyhow::Result<()> {
    child_env::refuse_root(context.root)?;
    child_env::set_umask();
    check_not_service(context.root, context.app)?;
    let (app, dir) = (context.app, context.dir());
    setup::check_hooks(context.scripts)?;
    // Before the lock, which makes the directory.
    if if_missing {
        check_name(context)?;
    }
    let lock = AppLock::acquire(&dir, context.key)?;
    if dir.repo().exists() {
        if if_missing {
            return Ok(());
        }
        let address = client::push_address(app);
        return Err(UserError::new(format!("{app} exists already"))
            .hint(format!("to deploy to it: git push {address} main"))
            .into());
    }
    if if_missing {
        check_name(context)?;
    }
    destroyed_app::check_nothing_kept(app, &dir)?;
    // Until its end, a renaming takes what belongs to this name.
    let renamed = former_names::find_successor(context.root, app);
    if let Some(new) = renamed.filter(|new| context.root.app(new).renaming().exists()) {
        let what = format!("{app} is being renamed to {new}");
        return Err(UserError::new(what)
            .hint(format!("if that was interrupted: piku rename {app} {new}"))
            .code(BUSY)
            .into());
    }
    former_names::forget(context.root, app)?;
    if let Err(err) = setup::ensure_repository(&dir, context.scripts) {
        lock.remove_empty_dir(&dir);
        return Err(err);
    }
    progress::step(&format!("Created {app}; push to it with: git push {} main", client::push_address(app)));
    Ok(())
}

/// Checks that no service has the name: apps and services share their names.
pub(crate) fn check_not_service(root: &PikuRoot, name: &AppName) -> anyhow::Result<()> {
    if !root.is_service(name) {
        return Ok(());
    }
    let what = format!("{name} is a service, not an app");
    Err(UserError::new(what).hint("choose another name for the app").into())
}

/// Checks that the app is not one that was renamed, which would be created again, empty, or destroyed, whose data a
/// new one would get.
pub(crate) fn check_name(context: &AppContext<'_>) -> anyhow::Result<()> {
    if context.dir().repo().exists() {
        return Ok(());
    }
    destroyed_app::check_nothing_kept(context.app, &context.dir())?;
    match former_names::find_successor(context.root, context.app) {
        None => Ok(()),
        Some(new) => {
            let address = client::push_address(&new);
            let error = former_names::renamed_app(context.app, &new);
            Err(error.hint(format!("to push to {new}: git remote set-url piku {address}")).into())
        }
    }
}
