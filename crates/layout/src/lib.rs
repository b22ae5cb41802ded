//! Contracts between the tools: paths below the root, names of apps and process types, and the settings of
//! the host.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod app_lock;
pub mod clock;
pub mod daemon;
pub mod deploys;
pub mod destroyed_app;
pub mod former_names;
pub mod front_key;
pub mod git_history;
pub mod jail;
pub mod name;
pub mod paths;
mod plain_words;
pub mod settings;
pub mod unknown_app;
pub mod writable_path;
