//! Level 2: the app has a range of user ids of its own.

mod command_user;
mod ownership;
mod prepared_root;
pub(crate) mod scene;
