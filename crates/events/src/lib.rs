//! The audit log, `audit.log`, and the events for journald: who did what on this machine.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod actor;
pub mod audit;
pub mod journal;
pub mod verb_record;
