//! `restore APP`: brings a destroyed app back and deploys it.

use std::process::ExitCode;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::unknown_app::unknown_app;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::destroyed_app::DestroyedApp;
use super::{app_lock, clone};
use crate::releases::current;

pub(in crate::commands) fn run(root: &PikuRoot, app: &AppName) -> anyhow::Result<ExitCode> {
    let dir = root.app(app);
    let check = || -> anyhow::Result<()> {
        if dir.is_there() {
            current::check_not_destroyed(&dir)?;
            return Err(UserError::new(format!("{app} is there: it was not destroyed")).into());
        }
        match DestroyedApp::read(&dir) {
            Some(_) => current::check_not_destroyed(&dir),
            None if current::has_dir(dir.path(), "data") => {
                let what = format!("only the data of {app} is left");
                Err(UserError::new(what).hint("push the app: it gets this data").into())
            }
            None => Err(unknown_app(root, app).into()),
        }
    };
    check()?;
    let lock = app_lock::wait_for_app(root, app)?;
    check()?;
    DestroyedApp::bring_back(&dir)?;
    progress::step(&format!("{app} is back, with its repository, config and data"));
    drop(lock);
    clone::deploy(root, app)
}
