//! The files of a jail: of the app, of the host, granted and writable.

mod files;
mod grants;
pub(crate) mod hostfiles;
mod scratch;
