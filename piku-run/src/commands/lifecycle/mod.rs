//! Commands that change which release runs, and with how many instances.

pub(super) mod deploy;
pub(super) mod destroy;
pub(super) mod restart;
pub(super) mod rollback;
pub(super) mod scale;
pub(super) mod stop;
