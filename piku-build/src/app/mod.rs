//! The app: its tree, what its author wrote in it, and the checks of it.

pub(crate) mod app_file;
pub(crate) mod app_folder;
pub(crate) mod app_source;
pub(crate) mod command_check;
pub(crate) mod profile;
