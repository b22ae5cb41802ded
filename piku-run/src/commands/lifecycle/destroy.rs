//! `destroy APP --confirm APP`: stops the app and removes it. What cannot be made again, its repository, config and
//! data, is kept for a while, for `restore`. Can be repeated if it was interrupted.

#![expect(
    clippy::disallowed_methods,
    reason = "names in the app's own folder, which only piku writes; what they name is removed through a handle"
)]

use std::fs;
use std::io::ErrorKind;

use anyhow::Context;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::HostSettings;
use piku_report::progress;
use piku_report::user_error::{USAGE, UserError};

use super::app_lock;
use super::destroyed_app::{self, DestroyedApp};
use crate::app_request;
use crate::cli::DestroyArgs;
use crate::commands::data;
use crate::commands::services;
use crate::garbage::scratch;
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::known_apps;
use crate::kubernetes::remove_from_clusters;
use crate::nginx::WebServer;
use crate::releases::current;
use crate::services::state;

pub(in crate::commands) fn run(root: &PikuRoot, typed: &DestroyArgs) -> anyhow::Result<()> {
    let DestroyArgs { app, confirm, now } = typed;
    if app != confirm {
        let what = format!("'{confirm}' is not the name of the app to destroy, '{app}'");
        return Err(UserError::new(what).code(USAGE).into());
    }
    let dir = root.app(app);
    if !dir.destroyed().is_dir() {
        known_apps::must_be_there(root, app)?;
    }
    let settings = HostSettings::read(&root.settings())?;
    let now = *now || settings.keep_destroyed.is_zero();
    let push = app_lock::lock_idle_app(&dir, app)?;
    if dir.is_in_cluster() {
        // A cluster that is gone must not keep the app.
        let mark = dir.stopped();
        dir.create_marker(&mark).with_context(|| format!("cannot write '{}'", mark.display()))?;
        if client::is_supervised(root, app) {
            client::stop_supervisor(root, app)?;
        }
    } else {
        app_request::ask(root, app, &SupervisorRequest::Stop { stay: true })?;
        app_request::ask(root, app, &SupervisorRequest::Leave)?;
    }
    remove_from_clusters(root, app)?;
    let _lock = app_lock::keep_out_supervisor(root, app)?;
    if dir.path().is_dir() {
        // From here on the app counts as destroyed.
        dir.create_marker(&dir.destroying())
            .with_context(|| format!("cannot write '{}'", dir.destroying().display()))?;
    }
    // What follows writes a little: on a full disk this makes room for it.
    for path in [dir.cache(), dir.layers(), dir.log()] {
        current::remove_dir(&path)?;
    }
    // The next app of this name may belong to another user.
    root.change_grants(app, |_| Ok(Vec::new())).context("cannot take back what was granted")?;
    WebServer::load(root)?.purge_app(app)?;
    // First what would make it run again, last the marks that it is stopped.
    current::remove_dir(&dir.current())?;
    // What processes have changed in `/app`: that of stopped ones is being removed.
    scratch::wait_for_removals(&dir);
    scratch::remove_folder(root, app, &dir.scratch())?;
    if !now {
        DestroyedApp::keep(&dir)?;
    }
    // Without the lock, a push would create the app again meanwhile.
    let kept = [dir.data(), dir.destroyed(), dir.stopped(), dir.destroying(), dir.lock()];
    let entries = match fs::read_dir(dir.path()) {
        Ok(entries) => entries.collect(),
        // The directory was removed by hand.
        Err(err) if err.kind() == ErrorKind::NotFound => Vec::new(),
        Err(err) => return Err(err).with_context(|| format!("cannot list '{}'", dir.path().display())),
    };
    for entry in entries {
        let path = entry?.path();
        if kept.contains(&path) {
            continue;
        }
        current::remove_dir(&path)?;
    }
    current::remove_dir(dir.run())?;
    current::remove_dir(&dir.stopped())?;
    current::remove_dir(&dir.destroying())?;
    // A later app of this name gets nothing of what this one had.
    let has_left = dir.destroyed().is_dir() || dir.data().is_dir();
    if !now && !has_left {
        services::remove_data_of(root, app)?;
    }
    if now {
        data::remove_kept(root, app, &dir, push)?;
    } else {
        // Succeeds if it is empty.
        let _ = fs::remove_dir(dir.data());
        current::remove_dir(&dir.lock())?;
        let _ = fs::remove_dir(dir.path());
    }
    match DestroyedApp::read(&dir) {
        Some(kept) => {
            let end = kept.end(&settings);
            progress::step(&format!("{app} is destroyed; what it had is kept until {}", end.strftime("%F")));
            for bound in state::bindings(root, app)? {
                progress::detail(&format!("and until then its data in {}", bound.service));
            }
            progress::detail(&format!("to bring it back: piku restore {app}"));
        }
        None if !dir.data().exists() => progress::step(&format!("{app} is destroyed")),
        None => progress::step(&format!("{app} is destroyed; its data stays in '{}'", dir.data().display())),
    }
    destroyed_app::remove_expired(root, &settings);
    Ok(())
}
