//! `service ACTION`: making, binding, saving, upgrading and removing services; and the refusal of commands that are for
//! apps only.

mod action;
mod binding;
mod binding_claim;
mod binding_values;
mod bound_server;
mod create;
mod destroy;
mod killed_restore;
mod list;
mod open_service;
mod renamed_app;
mod server_port;
mod transfer;
mod upgrade;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;

pub(super) use action::check_client;
pub(super) use binding::{bind_app, remove_data_of};
pub(super) use bound_server::wait_for_bound_services;
pub(super) use create::{NewService, create_service};
pub(super) use renamed_app::rename_app;
pub(super) use transfer::{dump_command, restore};

use binding::{drop_binding, unbind_app};
use destroy::destroy_service;
use killed_restore::recover_restores;
use list::{print_service, print_services};
use transfer::{open_console, print_dump, read_restore};
use upgrade::{UpgradeRequest, upgrade_service};

use crate::cli::service_action::ServiceAction;

pub(super) fn run(root: &PikuRoot, action: ServiceAction) -> anyhow::Result<()> {
    match action {
        ServiceAction::Create { kind, name, version, port } => {
            create_service(root, &NewService { kind, name, version, port })
        }
        ServiceAction::List { format } => print_services(root, format),
        ServiceAction::Info { service, format } => print_service(root, &service, format),
        ServiceAction::Bind { service, app, prefix } => bind_app(root, &service, &app, prefix.as_deref()),
        ServiceAction::Unbind { service, app, prefix } => unbind_app(root, &service, &app, prefix.as_deref()),
        ServiceAction::Drop { service, app, confirm, prefix } => {
            drop_binding(root, &service, &app, &confirm, prefix.as_deref())
        }
        ServiceAction::Console { app, prefix } => open_console(root, &app, prefix.as_deref()),
        ServiceAction::Dump { app, prefix } => print_dump(root, &app, prefix.as_deref()),
        ServiceAction::Restore { app, prefix } => read_restore(root, &app, prefix.as_deref()),
        ServiceAction::Recover { service } => recover_restores(root, &service),
        ServiceAction::Upgrade { service, version, rebuild, confirm, undo, resume } => {
            let request = match confirm {
                Some(confirmed) => UpgradeRequest::Confirm(confirmed),
                None if undo => UpgradeRequest::Undo,
                None if resume => UpgradeRequest::Resume,
                None => UpgradeRequest::Begin { version, rebuild },
            };
            upgrade_service(root, &service, &request)
        }
        ServiceAction::Destroy { service, confirm } => destroy_service(root, &service, &confirm),
    }
}

/// Fails if the name is that of a service.
pub(super) fn refuse_service(root: &PikuRoot, name: &AppName) -> anyhow::Result<()> {
    if !root.is_service(name) {
        return Ok(());
    }
    Err(UserError::new(format!("{name} is a service, not an app"))
        .hint(format!("what it is and who uses it: piku service:info {name}"))
        .into())
}
