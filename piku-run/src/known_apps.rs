//! The apps of this machine: those that exist, and the error about one that does not.

use anyhow::Context;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::unknown_app;
use piku_report::user_error::UserError;

/// Returns these apps, or all that were not destroyed.
pub(crate) fn list_apps(root: &PikuRoot, only: &[AppName]) -> anyhow::Result<Vec<AppName>> {
    for app in only {
        must_be_there(root, app)?;
    }
    if !only.is_empty() {
        return Ok(only.to_vec());
    }
    let mut apps = root.apps().context("cannot list the apps")?;
    apps.retain(|app| root.app(app).is_there());
    Ok(apps)
}

/// Fails unless the app exists, or something of it may still run although its directory was removed by
/// hand.
#[expect(clippy::disallowed_methods, reason = "looks for the app's own folders")]
pub(crate) fn must_be_there(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    if dir.destroyed().is_dir() && !dir.is_there() && !dir.destroying().exists() {
        let what = format!("{app} was destroyed");
        return Err(UserError::new(what).hint(format!("to bring it back: piku restore {app}")).into());
    }
    if dir.path().is_dir() || dir.run().is_dir() { Ok(()) } else { Err(unknown_app(root, app).into()) }
}
