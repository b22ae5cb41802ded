//! Attacks on other processes, and through what the caller gave this one.

pub(super) mod descriptors;
pub(super) mod environment;
pub(super) mod identity;
pub(super) mod outsiders;
pub(super) mod process1;
pub(super) mod terminal;
