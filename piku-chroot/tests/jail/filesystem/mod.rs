//! The files of a jail: of the app, of the host, granted and writable.

mod files;
mod grants;
mod hostfiles;
mod scratch;
