//! Commands of an operator on deployed apps.

mod grants;
mod import_piku;
mod names;
mod notify;
pub(crate) mod operate;
mod releases;
mod verbs;
