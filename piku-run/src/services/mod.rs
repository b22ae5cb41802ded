//! Services: servers such as databases that run beside the apps, under the same supervisor and in the same jail, and
//! that apps are bound to. docs/services.md describes the contract with a kind's programs.

mod action;
mod binding;
mod binding_values;
mod create;
mod destroy;
mod kind;
mod list;
mod open_service;
mod process_settings;
mod server_port;
mod state;
mod transfer;
mod upgrade;

pub(crate) use action::{check_client, wait_for_bound_services};
pub(crate) use binding::{bind_app, drop_binding, remove_data_of, unbind_app};
pub(crate) use create::{NewService, create_service};
pub(crate) use destroy::destroy_service;
pub(crate) use kind::ServiceKind;
pub(crate) use list::{print_service, print_services};
pub(crate) use process_settings::{ServiceProcess, connect_jail};
pub(crate) use state::{BindingState, BoundService, bindings, can_have, rename_app};
pub(crate) use transfer::{dump_command, open_console, print_dump, read_restore, restore};
pub(crate) use upgrade::{UpgradeRequest, upgrade_service};
