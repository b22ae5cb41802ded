//! Protections that are put on the command last, layer by layer: each takes away something that it could ask
//! of the kernel.

pub(crate) mod capabilities;
pub(crate) mod keyring;
pub(crate) mod landlock;
pub(crate) mod protections;
pub(crate) mod seccomp;
