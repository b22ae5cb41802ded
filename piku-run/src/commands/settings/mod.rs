//! Commands that show, change or check the settings of apps.

pub(super) mod certs;
pub(super) mod check;
pub(in crate::commands) mod config;
pub(super) mod deploy_lock;
pub(super) mod domains;
pub(super) mod foreign_app;
pub(super) mod grant;
pub(super) mod maintenance;
