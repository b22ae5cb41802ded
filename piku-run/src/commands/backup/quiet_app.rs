//! An app that is stopped and locked while it is saved and replaced: nothing that it would write, and no push, is lost
//! between the two.

#![expect(clippy::disallowed_methods, reason = "looks for a mark that only piku writes")]

use std::process::ExitCode;

use anyhow::Context;
use piku_files::FileLock;
use piku_layout::deploys::deploy_lock::DeployLock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;

use super::services;
use crate::app_request;
use crate::commands::lifecycle::{app_lock, deploy_restored, rename};
use crate::commands::services::refuse_service;
use crate::garbage::scratch;
use crate::ipc::protocol::SupervisorRequest;
use crate::kubernetes;
use crate::process::caller_guard::{self, CallerGuard};
use crate::releases::current;

/// A stopped app with its lock and its supervisor's. Dropping it starts the app again, if it ran, unless it was replaced.
#[derive(Debug)]
pub(super) struct QuietApp {
    root: PikuRoot,
    name: AppName,
    lock: Option<FileLock>,
    alone: Option<FileLock>,
    /// Until the app is replaced.
    guard: Option<CallerGuard>,
}

impl QuietApp {
    /// Locks and stops an app. After a kill, a guard starts it again; after a power cut, the daemon.
    ///
    /// # Errors
    /// Fails, and the app runs on, if it may not be replaced, or as busy during a push.
    pub(super) fn stop(root: &PikuRoot, name: &AppName) -> anyhow::Result<Self> {
        let dir = root.app(name);
        let lock = app_lock::lock_idle_app(&dir, name)?;
        check_replaceable(root, name)?;
        kubernetes::warn_of_cluster_files(root, name, "files of the backup go here, not there")?;
        let guard = Some(start_guard(root, name)?);
        let mut quiet = Self { root: root.clone(), name: name.clone(), lock, alone: None, guard };
        app_request::ask(root, name, &SupervisorRequest::Stop { stay: false })?;
        app_request::ask(root, name, &SupervisorRequest::Leave)?;
        quiet.alone = Some(app_lock::keep_out_supervisor(root, name)?);
        scratch::wait_for_removals(&dir);
        scratch::remove_folder(root, name, &dir.scratch())?;
        Ok(quiet)
    }

    /// Leaves the app to what has replaced it, and its guard to the deploy of that.
    pub(super) fn leave_replaced(mut self) -> Option<CallerGuard> {
        self.guard.take()
    }
}

impl Drop for QuietApp {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        drop((self.alone.take(), self.lock.take()));
        if let Err(err) = rename::start(&self.root, &self.name) {
            progress::warning(&format!("{} does not come up again: {err:#}", self.name));
        }
        guard.end();
    }
}

/// Starts the process that goes on if this one is killed during the restore of an app.
pub(super) fn start_guard(root: &PikuRoot, app: &AppName) -> anyhow::Result<CallerGuard> {
    CallerGuard::start(root, &["restore", app.as_str(), "--resume"])
}

/// Goes on in the guard: starts an app that was stopped in order to be replaced, and was not, or deploys a restored one.
pub(in crate::commands) fn resume_restore(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    caller_guard::wait_for_caller()?;
    // The deploy itself may have outlived its caller.
    drop(app_lock::wait_for_app(root, app)?);
    let dir = root.app(app);
    if dir.undeployed().exists() {
        // Of the processes of the replaced app.
        current::remove_dir(&dir.paused())?;
        services::restore_services(root, app)?;
        return deploy_published(root, app).map(drop);
    }
    if dir.is_stopped() { rename::start(root, app) } else { Ok(()) }
}

/// Deploys a restored app, unless a push has. After that, whatever has become of it, nothing is left of the restore.
pub(in crate::commands) fn deploy_published(root: &PikuRoot, app: &AppName) -> anyhow::Result<ExitCode> {
    let dir = root.app(app);
    let is_live = dir.current_number().is_some();
    let code = if is_live { ExitCode::SUCCESS } else { deploy_restored(root, app)? };
    current::remove_dir(&dir.undeployed())?;
    Ok(code)
}

/// Checks that an app may be replaced now.
pub(super) fn check_replaceable(root: &PikuRoot, app: &AppName) -> anyhow::Result<()> {
    let dir = root.app(app);
    refuse_service(root, app)?;
    current::check_not_destroyed(&dir)?;
    match DeployLock::read(&dir).context("cannot read the lock of deploys")? {
        Some(lock) => {
            Err(UserError::new(lock.describe(app)).hint(format!("first: piku unlock {app}")).into())
        }
        None => Ok(()),
    }
}
