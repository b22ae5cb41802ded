//! An app that is stopped and locked while it is saved and replaced: nothing that it would write, and no push, is lost
//! between the two.

use anyhow::Context;
use piku_files::FileLock;
use piku_layout::deploys::deploy_lock::DeployLock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::UserError;

use crate::commands::lifecycle::{app_lock, rename};
use crate::commands::service::refuse_service;
use crate::garbage::scratch;
use crate::ipc::client;
use crate::ipc::protocol::SupervisorRequest;
use crate::kubernetes;
use crate::releases::current;

/// A stopped app with its lock and its supervisor's. Dropping it starts the app again, if it ran, unless it was replaced.
#[derive(Debug)]
pub(super) struct QuietApp {
    root: PikuRoot,
    name: AppName,
    lock: Option<FileLock>,
    alone: Option<FileLock>,
    is_replaced: bool,
}

impl QuietApp {
    /// Locks and stops an app. After a kill, the daemon starts it again when it starts itself.
    ///
    /// # Errors
    /// Fails, and the app runs on, if it may not be replaced, or as busy during a push.
    pub(super) fn stop(root: &PikuRoot, name: &AppName) -> anyhow::Result<Self> {
        let dir = root.app(name);
        let lock = app_lock::lock_idle_app(&dir, name)?;
        check_replaceable(root, name)?;
        kubernetes::warn_of_cluster_files(root, name, "files of the backup go here, not there")?;
        let mut quiet =
            Self { root: root.clone(), name: name.clone(), lock, alone: None, is_replaced: false };
        client::ask(root, name, &SupervisorRequest::Stop { stay: false })?;
        client::ask(root, name, &SupervisorRequest::Leave)?;
        quiet.alone = Some(app_lock::keep_out_supervisor(root, name)?);
        scratch::wait_for_removals(&dir);
        scratch::remove_folder(root, name, &dir.scratch())?;
        Ok(quiet)
    }

    /// Leaves the app to what has replaced it.
    pub(super) fn leave_replaced(mut self) {
        self.is_replaced = true;
    }
}

impl Drop for QuietApp {
    fn drop(&mut self) {
        if self.is_replaced {
            return;
        }
        drop((self.alone.take(), self.lock.take()));
        if let Err(err) = rename::start(&self.root, &self.name) {
            progress::warning(&format!("{} does not come up again: {err:#}", self.name));
        }
    }
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
