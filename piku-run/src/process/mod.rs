//! Processes, signals and waiting: /proc, process trees, children that ended, resource usage.

pub(crate) mod family;
pub(crate) mod reap;
pub(crate) mod signals;
mod stat;
pub(crate) mod tree;
pub mod usage;
pub(crate) mod wait;

pub use stat::{ProcessStat, all, boot_id, is_dying, uptime};
