//! The app: its tree, its Procfile, `ENV` and config, and checks of its commands.

pub(crate) mod app_file;
pub(crate) mod app_folder;
pub(crate) mod app_json;
pub(crate) mod app_source;
pub(crate) mod command_check;
pub(crate) mod profile;
pub(crate) mod read_budget;
pub(crate) mod started_programs;
