//! Claims of the bindings of an app to a service, by the command that changes them or restores their data.

use std::path::PathBuf;

use anyhow::Context;
use piku_files::FileLock;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;

use super::action::must_be_service;
use crate::lock;
use crate::releases::current;

fn claim_path(root: &PikuRoot, service: &AppName, app: &AppName) -> anyhow::Result<PathBuf> {
    let dir = root.service(service);
    current::create_dir(dir.run())?;
    Ok(dir.run().join(format!("binding.{app}")))
}

/// Claims the bindings of an app to a service, unless another command has done so.
pub(super) fn try_claim(
    root: &PikuRoot,
    service: &AppName,
    app: &AppName,
) -> anyhow::Result<Option<FileLock>> {
    let path = claim_path(root, service, app)?;
    lock::try_lock(&path).with_context(|| format!("cannot lock '{}'", path.display()))
}

/// Claims the bindings of an app to a service, before the service is locked. Waits for another command.
///
/// # Errors
/// Fails if there is no such service, or as busy.
pub(super) fn claim_bindings(root: &PikuRoot, service: &AppName, app: &AppName) -> anyhow::Result<FileLock> {
    must_be_service(root, service)?;
    lock::wait_for(root, &format!("the change of {app} in {service} that is in progress"), || {
        try_claim(root, service, app)
    })
}
