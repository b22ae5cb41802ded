//! `service ACTION`, and the refusal of commands that are for apps only.

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::user_error::UserError;

use crate::cli::service_action::ServiceAction;
use crate::services::{self, UpgradeRequest};

pub(super) fn run(root: &PikuRoot, action: ServiceAction) -> anyhow::Result<()> {
    match action {
        ServiceAction::Create { kind, name, version, port } => {
            services::create_service(root, &services::NewService { kind, name, version, port })
        }
        ServiceAction::List { format } => services::print_services(root, format),
        ServiceAction::Info { service, format } => services::print_service(root, &service, format),
        ServiceAction::Bind { service, app, prefix } => {
            services::bind_app(root, &service, &app, prefix.as_deref())
        }
        ServiceAction::Unbind { service, app, prefix } => {
            services::unbind_app(root, &service, &app, prefix.as_deref())
        }
        ServiceAction::Drop { service, app, confirm, prefix } => {
            services::drop_binding(root, &service, &app, &confirm, prefix.as_deref())
        }
        ServiceAction::Console { app, prefix } => services::open_console(root, &app, prefix.as_deref()),
        ServiceAction::Dump { app, prefix } => services::print_dump(root, &app, prefix.as_deref()),
        ServiceAction::Restore { app, prefix } => services::read_restore(root, &app, prefix.as_deref()),
        ServiceAction::Upgrade { service, version, rebuild, confirm, undo, resume } => {
            let request = match confirm {
                Some(confirmed) => UpgradeRequest::Confirm(confirmed),
                None if undo => UpgradeRequest::Undo,
                None if resume => UpgradeRequest::Resume,
                None => UpgradeRequest::Begin { version, rebuild },
            };
            services::upgrade_service(root, &service, &request)
        }
        ServiceAction::Destroy { service, confirm } => services::destroy_service(root, &service, &confirm),
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
