//! `service destroy NAME --confirm NAME`: stops a service and removes it with its data.

#![expect(
    clippy::disallowed_methods,
    reason = "the directory of a service, which only piku writes; its data is removed in a jail"
)]

use std::fs;
use std::path::Path;

use anyhow::Context;
use piku_files::atomic_file;
use piku_layout::name::AppName;
use piku_layout::paths::{PikuRoot, SERVICE_ASIDE};
use piku_report::progress;
use piku_report::user_error::{BUSY, USAGE, UserError};

use super::action::{lock_service, lock_services};
use super::binding_claim::try_claim;
use super::binding_values::is_in_config;
use crate::app_request;
use crate::commands::{empty_data, keep_out_supervisor};
use crate::ipc::protocol::SupervisorRequest;
use crate::known_apps::must_be_there;
use crate::nginx::WebServer;
use crate::releases::current;
use crate::services::state::ServiceState;

/// Removes a service to which no app is bound.
///
/// # Errors
/// Fails if an app is bound to it.
pub(crate) fn destroy_service(root: &PikuRoot, name: &AppName, confirm: &AppName) -> anyhow::Result<()> {
    if name != confirm {
        let what = format!("'{confirm}' is not the name of the service to destroy, '{name}'");
        return Err(UserError::new(what).code(USAGE).into());
    }
    let _lock = lock_service(root, name)?;
    let state = ServiceState::read(&root.service(name))?;
    let mut bound = Vec::new();
    for binding in &state.bindings {
        // It is being bound, and may be deployed with it just now.
        let Some(_claim) = try_claim(root, name, &binding.app)? else {
            let what = format!("{name} is being changed for {}", binding.app);
            return Err(UserError::new(what).hint("try again when that has ended").code(BUSY).into());
        };
        // What an app does not use does not keep a service: its server may never start again.
        if must_be_there(root, &binding.app).is_ok() && is_in_config(root, binding)? {
            bound.push(binding.app.to_string());
        }
    }
    if let Some(app) = bound.first() {
        let what = format!("{} bound to {name}", bound.join(" and "));
        return Err(UserError::new(what).hint(format!("first: piku service:unbind {name} {app}")).into());
    }
    remove_service(root, name)?;
    progress::step(&format!("{name} is destroyed, with its data"));
    Ok(())
}

/// Stops a service and removes it with its data.
pub(super) fn remove_service(root: &PikuRoot, name: &AppName) -> anyhow::Result<()> {
    let dir = root.service(name);
    app_request::ask(root, name, &SupervisorRequest::Stop { stay: true })?;
    app_request::ask(root, name, &SupervisorRequest::Leave)?;
    let _alone = keep_out_supervisor(root, name)?;
    WebServer::load(root)?.purge_app(name)?;
    let _lock = lock_services(root)?;
    let aside = root.service_aside(name);
    let aside = aside.path();
    fs::rename(dir.path(), aside)
        .and_then(|()| atomic_file::sync_parent(aside))
        .with_context(|| format!("cannot move '{}' away", dir.path().display()))?;
    remove_aside(root, aside)?;
    current::remove_dir(dir.run())
}

/// Removes a directory with data of a service, if it exists. It may belong to the service's own user.
pub(super) fn remove_service_data(root: &PikuRoot, name: &AppName, data: &Path) -> anyhow::Result<()> {
    if !data.is_dir() {
        return Ok(());
    }
    empty_data(root, name, data)?;
    fs::remove_dir(data).with_context(|| format!("cannot remove '{}'", data.display()))
}

/// Removes the directory of a service that has been moved aside.
pub(super) fn remove_aside(root: &PikuRoot, aside: &Path) -> anyhow::Result<()> {
    let name =
        aside.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(SERVICE_ASIDE));
    if let Some(name) = name.and_then(|name| name.parse().ok()) {
        let dir = root.service_aside(&name);
        for data in [dir.data(), dir.new_service_data(), dir.old_service_data()] {
            remove_service_data(root, &name, &data)?;
        }
    }
    current::remove_dir(aside)
}
