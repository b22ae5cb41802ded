//! `lock APP [REASON]`, `unlock APP`: refuses deploys for a while. What runs, and its settings, can still be changed.

use piku_layout::app_lock;
use piku_layout::deploys::deploy_lock::{self, DeployLock};
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::known_apps;
use crate::releases::who;

pub(in crate::commands) fn lock(root: &PikuRoot, app: &AppName, reason: &str) -> anyhow::Result<()> {
    known_apps::must_be_there(root, app)?;
    let dir = root.app(app);
    let mine = DeployLock::new(&who(), reason)?;
    if !mine.create(&dir)? {
        let there = DeployLock::read(&dir)?;
        let what = there.map_or_else(|| format!("{app} is locked"), |there| there.describe(app));
        return Err(UserError::new(what).hint(format!("first: piku unlock {app}")).into());
    }
    progress::step(&format!("{app} is locked: pushes and rebuilds are refused"));
    if app_lock::is_held(&dir) {
        progress::detail("the change that is in progress goes on");
    }
    Ok(())
}

pub(in crate::commands) fn unlock(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    known_apps::must_be_there(root, app)?;
    let was_locked = deploy_lock::remove(&root.app(app))?;
    progress::step(&if was_locked {
        format!("{app} is unlocked: pushes deploy again")
    } else {
        format!("{app} was not locked")
    });
    Ok(())
}
