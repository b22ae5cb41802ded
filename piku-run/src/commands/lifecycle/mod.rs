//! Commands that change which release runs, and with how many instances.

pub(super) mod app_lock;
pub(super) mod aside_app;
pub(super) mod clone;
pub(super) mod deploy;
mod deploy_tip;
pub(super) mod destroy;
pub(super) mod destroyed_app;
pub(in crate::commands) mod free_name;
pub(super) mod rename;
pub(super) mod restart;
pub(super) mod restore;
pub(super) mod rollback;
pub(super) mod scale;
pub(super) mod stop;
pub(in crate::commands) mod successor;

pub(super) use deploy_tip::deploy_restored;
pub(crate) use deploy_tip::deploy_tip;
