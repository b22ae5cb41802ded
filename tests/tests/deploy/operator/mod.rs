//! Commands of an operator on deployed apps.

mod at_once;
mod audit;
mod backup;
mod data_limit;
mod grants;
mod import_piku;
mod json;
mod lacking_backups;
mod live_rule;
mod names;
mod notify;
pub(crate) mod operate;
mod releases;
mod scheduled_backups;
mod verbs;
